//! Reads prices, assumptions and counted calls from `docs/costs.md` and writes the computed tables into it.

use std::collections::BTreeMap;

const REPOSITORY: &str = include_str!("../../../docs/costs.md");

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PageError {
    #[error("docs/costs.md has no block <!-- {0} -->")]
    NoBlock(String),
    #[error("docs/costs.md has no number for {0}")]
    NoNumber(String),
}

/// Numbers by row name.
type Numbers = BTreeMap<String, f64>;

#[derive(Debug, Clone)]
pub(crate) struct Page {
    prices: Numbers,
    assumptions: Numbers,
    /// By column, then by row name.
    counted: BTreeMap<String, Numbers>,
}

impl Page {
    /// The page of this repository at build time.
    pub(crate) fn of_repository() -> Result<Self, PageError> {
        Self::parse(REPOSITORY)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, PageError> {
        let numbers = |block: &str| -> Result<Numbers, PageError> {
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
            prices: numbers("prices")?,
            assumptions: numbers("assumptions")?,
            counted: named.map(|(at, name)| (name.clone(), column(at))).collect(),
        })
    }

    /// A price in US dollars.
    pub(crate) fn price(&self, name: &str) -> Result<f64, PageError> {
        get(&self.prices, name)
    }

    pub(crate) fn assumption(&self, name: &str) -> Result<f64, PageError> {
        get(&self.assumptions, name)
    }

    /// Calls, messages and request units in a column of the counted table.
    pub(crate) fn counted(&self, column: &str) -> Result<&Numbers, PageError> {
        let missing = || PageError::NoNumber(column.to_owned());
        self.counted.get(column).ok_or_else(missing)
    }
}

fn get(numbers: &Numbers, name: &str) -> Result<f64, PageError> {
    let missing = || PageError::NoNumber(name.to_owned());
    numbers.get(name).copied().ok_or_else(missing)
}

fn number(cell: &str) -> Option<f64> {
    cell.replace(',', "").parse().ok()
}

/// The byte range of a block without its markers.
fn block(text: &str, name: &str) -> Result<std::ops::Range<usize>, PageError> {
    let missing = || PageError::NoBlock(name.to_owned());
    let marker = format!("<!-- {name} -->\n");
    let begin = text.find(&marker).ok_or_else(missing)? + marker.len();
    let length = text[begin..].find("<!-- end -->").ok_or_else(missing)?;
    Ok(begin..begin + length)
}

/// The cells of a block's table with its header.
fn table(text: &str, name: &str) -> Result<Vec<Vec<String>>, PageError> {
    let lines = text[block(text, name)?].lines();
    let rows = lines.filter(|line| line.starts_with('|') && !line.starts_with("|-"));
    Ok(rows
        .map(|row| {
            let inner = row.trim_start_matches('|').trim_end_matches('|');
            inner.split('|').map(|cell| cell.trim().to_owned()).collect()
        })
        .collect())
}

/// Returns the page with the content of one block replaced.
pub(crate) fn with_block(text: &str, name: &str, content: &str) -> Result<String, PageError> {
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
    fn numbers_are_read_by_row_and_column() {
        let page = Page::parse(PAGE).unwrap();
        assert_eq!(page.price("a call"), Ok(0.5));
        assert_eq!(page.assumption("files"), Ok(1_000.0));
        assert_eq!(page.counted("link").unwrap()["X"], 2.0);
        assert_eq!(page.counted("part").unwrap()["Y"], -1.0);
        assert_eq!(page.counted("part").unwrap().get("X"), None);
        let missing = PageError::NoNumber("b".to_owned());
        assert_eq!(page.price("b"), Err(missing));
    }

    #[test]
    fn only_the_named_block_is_replaced() {
        let once = with_block(PAGE, "prices", "| new |\n").unwrap();
        assert!(once.contains("<!-- prices -->\n\n| new |\n\n<!-- end -->\n<!-- assumptions -->"));
        assert_eq!(with_block(&once, "prices", "| new |\n").unwrap(), once);
        assert!(with_block(PAGE, "nothing", "").is_err());
    }
}
