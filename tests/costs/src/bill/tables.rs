//! The bill as tables of the page.

use super::{Bill, CostModel, GB_SECONDS, GIB, Idle, READ_UNITS, STORED_GB, WRITE_UNITS};
use crate::number::{grouped, round};
use crate::page::{Page, PageError};
use crate::settings::Settings;

/// The computed tables of the page by block name.
pub(crate) fn tables(
    page: &Page,
    settings: &Settings,
) -> Result<[(&'static str, String); 3], PageError> {
    let model = CostModel::new(page, settings)?;
    Ok([
        ("idle-bill", idle_bill(&model)?),
        ("unit-costs", unit_costs(&model)?),
        ("monthly-bill", monthly_bill(&model)?),
    ])
}

fn idle_bill(model: &CostModel<'_>) -> Result<String, PageError> {
    let mut text =
        "| | quantity | free | USD | USD with the free tier |\n|---|---:|---:|---:|---:|\n"
            .to_owned();
    let rows = model.idle()?;
    for row in &rows {
        let (list, free) = (dollars(row.at_list_price()), dollars(row.with_free_tier()));
        let quantity = (row.quantity * 100.0).round() / 100.0;
        text += &format!("| {} | {quantity} | {} | {list} | {free} |\n", row.name, row.free);
    }
    let list: f64 = rows.iter().map(Idle::at_list_price).sum();
    let free: f64 = rows.iter().map(Idle::with_free_tier).sum();
    text += &format!("| **total** | | | {} | {} |\n", dollars(list), dollars(free));
    Ok(text)
}

fn unit_costs(model: &CostModel<'_>) -> Result<String, PageError> {
    let gib = model.file(2 * GIB)? + model.file(GIB)? * -1.0;
    let rows = [
        ("link", model.link()?),
        ("event of an unlinked host", model.unlinked_event()?),
        ("recording without its files", model.recording()?),
        ("file of 30 KB", model.small_file(30e3)?),
        ("file of 1 GiB", model.file(GIB)?),
        ("each further GiB of a file", gib),
        ("token refresh", model.counted("refresh")?),
        ("reconciliation of a quiet user", model.reconciliation()?),
        ("recording read by the app", model.view()?),
    ];
    let mut text = "| | AWS calls | write units | read units | GB-seconds | USD per million | of which S3 storage for a month |\n\
        |---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (name, usage) in rows {
        let calls = ["DynamoDB", "EventBridge", "KMS", "S3", "SQS"].map(|it| usage.calls(it));
        // Adding 0 turns a negative zero into a positive one.
        let (write, read) = (usage.get(WRITE_UNITS) + 0.0, usage.get(READ_UNITS) + 0.0);
        // The storage of one unit, because a million units reach a cheaper tier.
        let storage = model.storage(usage.get(STORED_GB))? * 1e6;
        let gb_seconds = usage.get(GB_SECONDS);
        let bill = model.bill(&(usage * 1e6))?;
        let total = bill.values().sum::<f64>() - bill["S3, storage"] + storage;
        text += &format!(
            "| {name} | {} | {write} | {read} | {gb_seconds:.2} | {} | {} |\n",
            round(calls.iter().sum()),
            dollars(total),
            dollars(storage)
        );
    }
    Ok(text)
}

fn monthly_bill(model: &CostModel<'_>) -> Result<String, PageError> {
    let mut months = Vec::new();
    for recordings in [1e3, 1e6, 1e8] {
        let mut bill = model.bill(&model.month(recordings)?)?;
        for (service, amount) in model.fixed()? {
            *bill.entry(service).or_default() += amount;
        }
        months.push((recordings, bill));
    }
    let row = |name: &str, amount: &dyn Fn(f64, &Bill) -> f64| {
        let cells: String = months
            .iter()
            .map(|(recordings, bill)| format!(" {} |", dollars(amount(*recordings, bill))))
            .collect();
        format!("| {name} |{cells}\n")
    };
    let total = |bill: &Bill| bill.values().sum::<f64>();
    let without_storage = |bill: &Bill| total(bill) - bill["S3, storage"];
    let mut text = "| recordings per month | 1 thousand | 1 million | 100 million |\n\
        |---|---:|---:|---:|\n"
        .to_owned();
    for service in months[0].1.keys() {
        text += &row(service, &|_, bill| bill[service]);
    }
    text += &row("**total without storage**", &|_, bill| without_storage(bill));
    text += &row("**total**", &|_, bill| total(bill));
    text += &row("per thousand recordings, without storage", &|count, bill| {
        without_storage(bill) / count * 1e3
    });
    Ok(text)
}

/// An amount with its significant digits.
fn dollars(amount: f64) -> String {
    match amount.abs() {
        small if small < 0.005 => "0.00".to_owned(),
        small if small < 100.0 => format!("{amount:.2}"),
        _ => grouped(round(amount)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn documented_bills_match_prices_and_counts() {
        let text = include_str!("../../../../docs/costs.md");
        let page = Page::of_repository().unwrap();
        let settings = Settings::of_repository().unwrap();
        for (name, table) in tables(&page, &settings).unwrap() {
            let expected = crate::page::with_block(text, name, &table).unwrap();
            assert!(
                text == expected,
                "<!-- {name} --> is out of date; `cargo run --release -p costs -- --page` updates it:\n{table}"
            );
        }
    }

    #[test]
    fn amounts_have_significant_digits() {
        for (amount, text) in [
            (0.004, "0.00"),
            (0.126, "0.13"),
            (99.5, "99.50"),
            (100.4, "100"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(dollars(amount), text);
        }
    }
}
