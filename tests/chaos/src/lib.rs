//! Chaos simulation of grants, links and recordings: injected faults, kills and interleavings from a seed.
//!
//! The functions run against the embedded engines and the Zoom simulator over HTTP. A seed determines the
//! order of steps, the await points at which operations are killed, the faults of AWS and Zoom calls, and the
//! delivery of queue messages. After each seed, all delayed work runs and `invariants` compares the tables
//! with Zoom's state. The scenario `weeks` moves a clock over weeks of outages on a stack that processes its own queues.

mod app;
mod aws;
mod case;
pub mod command;
mod delivery;
mod instances;
mod interleave;
mod invariants;
mod journal;
pub mod process;
mod report;
mod rng;
mod scenarios;
mod weeks;
mod world;

pub use aws::AwsCondition;
pub use report::Outcome;
pub use scenarios::Scenario;
pub use weeks::run_day;
pub use world::World;
