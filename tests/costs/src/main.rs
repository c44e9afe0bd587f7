//! `cargo run --release -p costs`: simulates a month of recordings and computes its bill for `docs/costs.md`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: results go to stdout, errors to stderr"
)]

mod bill;
mod number;
mod page;
mod queue;
mod random;
mod report;
mod settings;
mod simulation;
mod wait_times;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::page::Page;
use self::settings::Settings;

#[derive(Parser)]
#[command(
    name = "costs",
    about = "Simulates a month of recordings second by second and computes its bill"
)]
struct Arguments {
    /// Number of recordings in the month.
    #[arg(long, default_value_t = 1e8)]
    recordings: f64,
    /// Seed of the random generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object per simulated month instead of a table.
    #[arg(long)]
    json: bool,
    /// Update the computed tables of `docs/costs.md` below the current folder.
    #[arg(long)]
    page: bool,
}

#[derive(Debug, thiserror::Error)]
enum CostsError {
    #[error(transparent)]
    Page(#[from] page::PageError),
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("costs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), CostsError> {
    let path = Path::new("docs/costs.md");
    // The page on disk may have prices that changed after this program was built.
    let page = if arguments.page {
        Page::parse(&std::fs::read_to_string(path)?)?
    } else {
        Page::of_repository()?
    };
    let default = Settings::of_repository()?;
    let unfair = Settings { is_fair: false, ..default.raised() };
    let mut months = Vec::new();
    for (name, settings) in [
        ("20 downloads at once", default.with_concurrency(20, 20, 10)),
        ("raised concurrency", default.raised()),
        ("raised, without fair queues", unfair),
    ] {
        let month = simulation::run(&page, &settings, arguments.recordings, arguments.seed)?;
        if arguments.json {
            let line = serde_json::json!({"month": name, "simulated": month});
            println!("{}", serde_json::to_string(&line)?);
        }
        months.push((name, month));
    }
    let table = report::table(&months);
    if !arguments.json {
        println!("{table}");
    }
    if arguments.page {
        let mut text = std::fs::read_to_string(path)?;
        for (block, content) in bill::tables(&page, &default)? {
            text = page::with_block(&text, block, &content)?;
        }
        std::fs::write(path, page::with_block(&text, "simulated", &table)?)?;
    }
    Ok(())
}
