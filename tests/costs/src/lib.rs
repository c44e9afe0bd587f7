//! What a month costs, and how it goes: the bill of `docs/costs.md`, worked out from its prices and counted calls,
//! and a simulation, second by second, of what waits where and how many functions work.

pub mod bill;
pub mod dice;
pub mod page;
pub mod plots;
pub mod queue;
pub mod report;
pub mod settings;
pub mod simulation;
pub mod tally;
pub mod workload;
