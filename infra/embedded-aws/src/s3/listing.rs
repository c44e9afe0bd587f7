//! Paging through sorted keys, with common prefixes.

use std::{collections::BTreeMap, ops::Bound};

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<'a, T> {
    pub(super) entries: Vec<(&'a str, &'a T)>,
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins, if there is one: after this key or common prefix.
    pub(super) next: Option<String>,
}

/// The keys that begin with `prefix`, come after `after` and, if a `delimiter` follows the prefix in
/// them, are rolled up. An `after` that is a common prefix has all keys below it behind it.
pub(super) fn page<'a, T>(
    all: &'a BTreeMap<String, T>,
    prefix: &str,
    delimiter: Option<&str>,
    after: &str,
    limit: usize,
) -> Page<'a, T> {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
    let rolled_up = |key: &str| {
        let delimiter = delimiter?;
        let end = key[prefix.len()..].find(delimiter)? + delimiter.len();
        Some(key[..prefix.len() + end].to_owned())
    };
    let mut page = Page {
        entries: Vec::new(),
        prefixes: Vec::new(),
        next: None,
    };
    let mut last = None;
    let from = if after > prefix { after } else { prefix };
    let from = (Bound::Included(from), Bound::Unbounded);
    let keys = all
        .range::<str, _>(from)
        .map(|(key, value)| (key.as_str(), value));
    for (key, value) in keys.take_while(|(key, _)| key.starts_with(prefix)) {
        let rolled_up = rolled_up(key);
        let passed = match &rolled_up {
            Some(common) => key <= after || common == after || page.prefixes.last() == Some(common),
            None => key <= after,
        };
        if passed {
            continue;
        }
        if page.entries.len() + page.prefixes.len() == limit {
            page.next = last;
            break;
        }
        match rolled_up {
            Some(common) => {
                last = Some(common.clone());
                page.prefixes.push(common);
            }
            None => {
                last = Some(key.to_owned());
                page.entries.push((key, value));
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(keys: &[&str], prefix: &str, delimiter: Option<&str>, limit: usize) -> Vec<String> {
        let all: BTreeMap<String, ()> = keys.iter().map(|key| ((*key).to_owned(), ())).collect();
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = page(&all, prefix, delimiter, &after, limit);
            assert!(page.entries.len() + page.prefixes.len() <= limit);
            let mut both: Vec<String> = page
                .entries
                .iter()
                .map(|(key, ())| (*key).to_owned())
                .collect();
            both.extend(page.prefixes);
            both.sort();
            seen.extend(both);
            match page.next {
                Some(next) => after = next,
                None => return seen,
            }
        }
    }

    #[test]
    fn pages_of_any_size_give_the_same_list() {
        let keys = ["a", "b/1", "b/2", "b/c/3", "b0", "d/4", "e"];
        for limit in 1..9 {
            assert_eq!(walk(&keys, "", None, limit), keys);
            assert_eq!(
                walk(&keys, "", Some("/"), limit),
                ["a", "b/", "b0", "d/", "e"]
            );
            assert_eq!(walk(&keys, "b/", Some("/"), limit), ["b/1", "b/2", "b/c/"]);
            assert_eq!(walk(&keys, "b", None, limit), ["b/1", "b/2", "b/c/3", "b0"]);
        }
        assert!(walk(&keys, "x", None, 1).is_empty());
    }
}
