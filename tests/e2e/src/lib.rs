//! Flows, attacks and faults on the whole system, over real HTTP: see `suite`.
