//! The chaos simulation: what becomes of grants, links and recordings when anybody dies anywhere, and everything
//! happens at the same time.
//!
//! The functions' own code runs against the embedded engines and the Zoom simulator, over real HTTP. What
//! is left to chance otherwise is drawn from a seed here: whose step comes when, who is killed at which
//! await point, which call fails and how, when messages come and how often. After each seed the world is
//! let come to rest, and the table and Zoom must agree (`invariants`).

mod case;
pub mod command;
mod dice;
mod flow;
mod instances;
mod interleave;
mod invariants;
mod journal;
pub mod process;
mod report;
mod scenarios;
mod verdict;
mod work;
mod world;

pub use scenarios::Scenario;
pub use verdict::Verdict;
pub use world::World;
