//! `docs/costs.md`: prices, assumptions and counted calls are read from it, and what follows from them is written
//! into it. Whoever changes a price there has the rest worked out anew.

use std::collections::BTreeMap;

/// The page as it was when this was built.
const REPOSITORY: &str = include_str!("../../../docs/costs.md");

/// What the page lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// A table or block that is not marked.
    #[error("docs/costs.md has no block <!-- {0} -->")]
    NoBlock(String),
    /// A row that is not there, or holds no number.
    #[error("docs/costs.md has no number for {0}")]
    NoNumber(String),
}

/// Numbers of the page, by the name of their row.
type Numbers = BTreeMap<String, f64>;

/// The page, read.
#[derive(Debug, Clone)]
pub struct Page {
    prices: Numbers,
    assumptions: Numbers,
    /// By column, then by row.
    counted: BTreeMap<String, Numbers>,
}

impl Page {
    /// The page of this repository.
    pub fn of_repository() -> Result<Self, PageError> {
        Self::parse(REPOSITORY)
    }

    /// Reads a page.
    pub fn parse(text: &str) -> Result<Self, PageError> {
        let second = |block: &str| -> Result<Numbers, PageError> {
            let rows = table(text, block)?;
            let number = |row: &Vec<String>| Some((row.first()?.clone(), number(row.get(1)?)?));
            Ok(rows.iter().filter_map(number).collect())
        };
        let counted = table(text, "counted")?;
        let columns = counted.first().cloned().unwrap_or_default();
        let column = |at: usize| {
            let cell = |row: &Vec<String>| Some((row.first()?.clone(), number(row.get(at)?)?));
            counted.iter().skip(1).filter_map(cell).collect()
        };
        let named = columns.iter().enumerate().skip(1);
        Ok(Self {
            prices: second("prices")?,
            assumptions: second("assumptions")?,
            counted: named.map(|(at, name)| (name.clone(), column(at))).collect(),
        })
    }

    /// A price in US dollars.
    pub fn price(&self, of: &str) -> Result<f64, PageError> {
        found(&self.prices, of)
    }

    /// What the page assumes.
    pub fn assumed(&self, what: &str) -> Result<f64, PageError> {
        found(&self.assumptions, what)
    }

    /// Calls, messages and request units of something that was counted, by name.
    pub fn counted(&self, what: &str) -> Result<&Numbers, PageError> {
        let missing = || PageError::NoNumber(what.to_owned());
        self.counted.get(what).ok_or_else(missing)
    }
}

fn found(numbers: &Numbers, name: &str) -> Result<f64, PageError> {
    let missing = || PageError::NoNumber(name.to_owned());
    numbers.get(name).copied().ok_or_else(missing)
}

fn number(cell: &str) -> Option<f64> {
    cell.replace(',', "").parse().ok()
}

/// Where a block begins and ends: after the line of its mark, before the end's.
fn block(text: &str, name: &str) -> Result<std::ops::Range<usize>, PageError> {
    let missing = || PageError::NoBlock(name.to_owned());
    let mark = format!("<!-- {name} -->\n");
    let begin = text.find(&mark).ok_or_else(missing)? + mark.len();
    let length = text[begin..].find("<!-- end -->").ok_or_else(missing)?;
    Ok(begin..begin + length)
}

/// The cells of a block's table, head included.
fn table(text: &str, name: &str) -> Result<Vec<Vec<String>>, PageError> {
    let lines = text[block(text, name)?].lines();
    let rows = lines.filter(|line| line.starts_with('|') && !line.starts_with("|-"));
    Ok(rows
        .map(|row| {
            let inner = row.trim_start_matches('|').trim_end_matches('|');
            inner
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect())
}

/// The page with this in place of what a block holds.
pub fn with_block(text: &str, name: &str, content: &str) -> Result<String, PageError> {
    let block = block(text, name)?;
    let (before, after) = (&text[..block.start], &text[block.end..]);
    Ok(format!("{before}\n{}\n\n{after}", content.trim_end()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PAGE: &str = "# T\n<!-- prices -->\n\n| price | USD |\n|---|---:|\n| a call | 0.5 |\n\n<!-- end -->\n\
        <!-- assumptions -->\n| files | 1,000 | why |\n<!-- end -->\n\
        <!-- counted -->\n| | link | part |\n|---|---:|---:|\n| X | 2 |  |\n| Y |  | -1 |\n<!-- end -->\n";

    #[test]
    fn numbers_are_found_by_row_and_column() {
        let page = Page::parse(PAGE).unwrap();
        assert_eq!(page.price("a call"), Ok(0.5));
        assert_eq!(page.assumed("files"), Ok(1_000.0));
        assert_eq!(page.counted("link").unwrap()["X"], 2.0);
        assert_eq!(page.counted("part").unwrap()["Y"], -1.0);
        assert_eq!(page.counted("part").unwrap().get("X"), None);
        let missing = PageError::NoNumber("b".to_owned());
        assert_eq!(page.price("b"), Err(missing));
    }

    #[test]
    fn a_block_is_replaced_and_nothing_else() {
        let once = with_block(PAGE, "prices", "| new |\n").unwrap();
        assert!(once.contains("<!-- prices -->\n\n| new |\n\n<!-- end -->\n<!-- assumptions -->"));
        assert_eq!(with_block(&once, "prices", "| new |\n").unwrap(), once);
        assert!(with_block(PAGE, "nothing", "").is_err());
    }
}
