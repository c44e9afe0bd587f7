//! `cargo run --release -p month`: a month of recordings as the template is, and with what a hundred million need.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: its figures go to stdout, its errors to stderr"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use costs::page::{self, Page};
use costs::settings::Settings;
use costs::simulation::{self, Month};
use costs::{bill, plots, report};

#[derive(Parser)]
#[command(about = "Simulates a month of recordings, second by second, and works out its bill")]
struct Arguments {
    /// How many recordings complete.
    #[arg(long, default_value_t = 1e8)]
    recordings: f64,
    /// What all chance follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a month, hour by hour, in place of a table.
    #[arg(long)]
    json: bool,
    /// Folder for plots.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Writes bills and what was simulated into `docs/costs.md`, below the current folder.
    #[arg(long)]
    page: bool,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
enum MonthError {
    #[error(transparent)]
    Page(#[from] page::PageError),
    #[error(transparent)]
    Settings(#[from] costs::settings::SettingsError),
    #[error(transparent)]
    Plot(#[from] plots::PlotError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("month: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), MonthError> {
    let path = Path::new("docs/costs.md");
    // Prices may just have been changed; then the page of today counts, not the one that this was built with.
    let page = if arguments.page {
        Page::parse(&std::fs::read_to_string(path)?)?
    } else {
        Page::of_repository()?
    };
    let template = Settings::of_repository()?;
    let spread = template.raised().spread(16);
    let unfair = Settings {
        fair: false,
        ..spread
    };
    let mut months = Vec::new();
    for (name, settings) in [
        ("as the template is", template),
        ("raised", template.raised()),
        ("raised, `by-next-check` spread", spread),
        ("the same, queues not fair", unfair),
    ] {
        let month = simulation::run(&page, &settings, arguments.recordings, arguments.seed)?;
        if arguments.json {
            println!("{}", serde_json::json!({"month": name, "simulated": month}));
        }
        months.push((name, month));
    }
    let table = report::table(&months);
    if !arguments.json {
        println!("{table}");
    }
    if let Some(folder) = &arguments.plots {
        draw(folder, &months)?;
    }
    if arguments.page {
        let mut text = std::fs::read_to_string(path)?;
        for (block, content) in bill::blocks(&page, &template)? {
            text = page::with_block(&text, block, &content)?;
        }
        std::fs::write(path, page::with_block(&text, "simulated", &table)?)?;
    }
    Ok(())
}

fn draw(folder: &Path, months: &[(&str, Month)]) -> Result<(), MonthError> {
    std::fs::create_dir_all(folder)?;
    if let [(_, default), _, (_, raised), ..] = months {
        let days = ("age of the oldest message, days", 86_400.0);
        let minutes = ("age of the oldest message, minutes", 60.0);
        std::fs::write(folder.join("default.svg"), plots::month(default, days)?)?;
        std::fs::write(folder.join("raised.svg"), plots::month(raised, minutes)?)?;
        std::fs::write(folder.join("day.svg"), plots::day(raised)?)?;
    }
    Ok(())
}
