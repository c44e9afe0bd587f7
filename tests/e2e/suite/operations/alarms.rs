//! Alarms, their metrics, and the runbook agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reelay_devstack::template::Template;
use reelay_runtime::metrics::{Dimensions, Metric, NAMESPACE};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Logical id and properties of every alarm.
fn alarms(template: &Template) -> Vec<(&str, &Value)> {
    let alarms: Vec<_> = template
        .resources()
        .filter(|(_, kind)| *kind == "AWS::CloudWatch::Alarm")
        .map(|(logical, _)| (logical, template.properties(logical).unwrap()))
        .collect();
    assert!(alarms.len() > 15, "the alarms are not read");
    alarms
}

/// All sources that write metrics.
fn sources() -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("metrics.rs")
            {
                *text += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut text = String::new();
    read(&root().join("functions"), &mut text);
    read(&root().join("shared"), &mut text);
    text
}

/// The anchors of a page's headings, as GitHub builds them.
fn headings(page: &str) -> BTreeSet<String> {
    let titles = page.lines().filter_map(|line| line.strip_prefix("## "));
    titles
        .map(|title| {
            let kept = title.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

fn runbook() -> String {
    std::fs::read_to_string(root().join("docs/runbook.md")).unwrap()
}

/// The metrics that an alarm evaluates, each with `MetricName`, `Namespace` and `Dimensions`. CloudWatch bills each
/// of them.
fn metrics(alarm: &Value) -> Vec<&Value> {
    match alarm["Metrics"].as_array() {
        None => vec![alarm],
        Some(metrics) => metrics.iter().filter_map(|it| it.pointer("/MetricStat/Metric")).collect(),
    }
}

#[test]
fn alarms_watch_metrics_that_functions_write() {
    let template = Template::of_repository().unwrap();
    let sources = sources();
    let mut ours = 0;
    for (alarm, properties) in alarms(&template) {
        for metric in metrics(properties) {
            if metric["Namespace"] != NAMESPACE {
                continue;
            }
            ours += 1;
            let name = metric["MetricName"].as_str().unwrap();
            let known = Metric::ALL.iter().find(|metric| metric.name() == name);
            let known = known.unwrap_or_else(|| panic!("{alarm} watches {name}, which is none"));
            let dimensions = metric["Dimensions"].as_array().unwrap();
            let names: Vec<&str> =
                dimensions.iter().map(|it| it["Name"].as_str().unwrap()).collect();
            let sets = known.dimensions().sets();
            assert!(sets.contains(&names.as_slice()), "{alarm}: nothing stands under {names:?}");
            assert_eq!(dimensions[0]["Value"], json!({"Ref": "AWS::StackName"}), "{alarm}");
            // An alarm on an unused reason would never fire.
            if let Some(reason) = dimensions.get(1) {
                let reason = format!("\"{}\"", reason["Value"].as_str().unwrap());
                assert!(sources.contains(&reason), "{alarm}: unused reason {reason}");
            }
            if properties["Metrics"].is_null() {
                assert_eq!(known.unit(), "Count", "{alarm}");
                assert_eq!(properties["Statistic"], "Sum", "{alarm}");
            }
        }
    }
    assert!(ours > 10, "the alarms are not read");
}

/// A table's metric excludes its indexes.
#[test]
fn throttling_alarm_watches_every_index() {
    let template = Template::of_repository().unwrap();
    let alarm = template.properties("TableThrottledAlarm").unwrap();
    let sum = alarm["Metrics"][0]["Expression"].as_str().unwrap();
    let ids = alarm["Metrics"].as_array().unwrap().iter().skip(1);
    for id in ids.map(|metric| metric["Id"].as_str().unwrap()) {
        assert!(sum.contains(&format!("FILL({id}, 0)")), "{id} is not in the sum");
    }
    let watched: BTreeSet<_> = metrics(alarm)
        .into_iter()
        .map(|metric| metric["Dimensions"][1]["Value"].as_str().unwrap_or("the table"))
        .collect();
    let table = template.properties("RecordingsTable").unwrap();
    let indexes = table["GlobalSecondaryIndexes"].as_array().unwrap().iter();
    let indexes = indexes.map(|index| index["IndexName"].as_str().unwrap());
    assert_eq!(watched, indexes.chain(["the table"]).collect::<BTreeSet<_>>());
}

/// An idle stack's bill (`docs/costs.md`) counts with these numbers.
#[test]
fn alarms_and_dashboard_are_within_their_budget() {
    let template = Template::of_repository().unwrap();
    let billed: usize = alarms(&template).iter().map(|(_, alarm)| metrics(alarm).len()).sum();
    let page = std::fs::read_to_string(root().join("docs/costs.md")).unwrap();
    assert!(page.contains(&format!("| alarm metrics | {billed} |")), "{billed} alarm metrics");
    // CloudWatch's free tier has three dashboards of up to 50 metrics.
    let body = template.properties("Dashboard").unwrap()["DashboardBody"]["Fn::Sub"].as_str();
    let body: Value = serde_json::from_str(body.unwrap()).unwrap();
    let lines = body["widgets"].as_array().unwrap().iter();
    let lines = lines.filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten();
    let plain = lines.filter(|line| line[0].is_string()).count();
    assert!((30..=45).contains(&plain), "{plain} metrics on the dashboard");
}

#[test]
fn unwatched_metrics_stay_log_lines() {
    let template = Template::of_repository().unwrap();
    let body = template.properties("Dashboard").unwrap()["DashboardBody"]["Fn::Sub"].clone();
    let body = body.as_str().unwrap();
    let watched: Vec<String> = alarms(&template)
        .iter()
        .flat_map(|(_, alarm)| metrics(alarm))
        .filter_map(|metric| metric["MetricName"].as_str().map(str::to_owned))
        .collect();
    for metric in Metric::ALL {
        let name = metric.name();
        let is_shown = body.contains(&format!("\"{name}\"")) || watched.iter().any(|it| it == name);
        assert_eq!(is_shown, metric.dimensions() != Dimensions::LogOnly, "{name}");
        let by_reason = body.contains(&format!("MetricName=\\\"{name}\\\""));
        assert_eq!(by_reason, metric.dimensions() == Dimensions::StackAndReason, "{name}");
    }
}

#[test]
fn every_function_has_stack_name_for_metrics() {
    let template = Template::of_repository().unwrap();
    for logical in template.binaries().unwrap().keys() {
        let properties = template.properties(logical).unwrap();
        let stack = properties.pointer("/Environment/Variables/STACK_NAME");
        assert_eq!(stack, Some(&json!({"Ref": "AWS::StackName"})), "{logical}");
    }
}

#[test]
fn every_metric_is_written_by_a_function() {
    let sources = sources();
    for metric in Metric::ALL {
        let written = format!("Metric::{}", metric.name());
        let is_whole = |(at, _): (usize, &str)| {
            let after = sources[at + written.len()..].chars().next();
            !after.is_some_and(char::is_alphanumeric)
        };
        assert!(
            sources.match_indices(&written).any(is_whole),
            "{} is never written",
            metric.name()
        );
    }
}

#[test]
fn alarms_and_runbook_headings_match() {
    let template = Template::of_repository().unwrap();
    let headings = headings(&runbook());
    let mut named = BTreeSet::new();
    for (alarm, properties) in alarms(&template) {
        let text = properties["AlarmDescription"].as_str().unwrap();
        let (_, anchor) = text
            .split_once("docs/runbook.md#")
            .unwrap_or_else(|| panic!("{alarm} links no runbook section"));
        let anchor = anchor.trim();
        assert!(headings.contains(anchor), "{alarm}: the runbook has no #{anchor}");
        named.insert(anchor.to_owned());
    }
    assert_eq!(headings, named, "headings without an alarm");
}

#[test]
fn each_runbook_heading_has_a_saved_query() {
    let template = Template::of_repository().unwrap();
    let queries = template.resources().filter(|(_, kind)| *kind == "AWS::Logs::QueryDefinition");
    let named: BTreeSet<String> = queries
        .map(|(logical, _)| {
            let name = &template.properties(logical).unwrap()["Name"]["Fn::Sub"];
            name.as_str().unwrap().trim_start_matches("${AWS::StackName}/").to_owned()
        })
        .collect();
    assert_eq!(named, headings(&runbook()));
}

/// A query or command for a message that no function logs finds nothing.
#[test]
fn runbook_and_queries_name_messages_that_functions_log() {
    let template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let (template, runbook, sources) = (template.as_str(), runbook(), sources());
    let quoted = |text: &'static str, from: &str| -> Vec<String> {
        let parts = from.split(text).skip(1);
        parts.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let mut messages = quoted("message = \"", template);
    messages.extend(quoted(" '\"", &runbook));
    assert!(messages.len() > 10, "the messages are not read");
    for message in messages {
        assert!(sources.contains(&format!("\"{message}\"")), "no function logs {message}");
    }
}

#[test]
fn runbook_links_resolve() {
    let runbook = runbook();
    let headings = headings(&runbook);
    let links: Vec<&str> =
        runbook.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 4, "the links are not read");
    for link in links {
        assert!(headings.contains(link), "there is no #{link}");
    }
}

#[test]
fn alarms_notify_topic_and_stand_on_dashboard() {
    let template = Template::of_repository().unwrap();
    let dashboard = template.properties("Dashboard").unwrap();
    let body = dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap();
    for (alarm, properties) in alarms(&template) {
        let topic = json!([{"Ref": "AlarmTopic"}]);
        assert_eq!(properties["AlarmActions"], topic, "{alarm}");
        assert_eq!(properties["OKActions"], topic, "{alarm}");
        assert!(body.contains(&format!("${{{alarm}.Arn}}")), "{alarm} is not on the dashboard");
    }
    // The dashboard is hand-written JSON.
    let widgets: Value = serde_json::from_str(body).unwrap();
    for metric in widgets.to_string().split("\"Reelay\",\"").skip(1) {
        let name = metric.split('"').next().unwrap();
        assert!(Metric::ALL.iter().any(|metric| metric.name() == name), "{name}");
    }
}

#[test]
fn silence_raises_alarms_but_not_on_the_first_day() {
    let template = Template::of_repository().unwrap();
    let seconds = |properties: &Value| {
        let of_metrics = properties["Metrics"].as_array().into_iter().flatten();
        let mut periods = of_metrics.filter_map(|it| it.pointer("/MetricStat/Period"));
        let period = periods.next().unwrap_or(&properties["Period"]).as_u64().unwrap();
        (period, period * properties["EvaluationPeriods"].as_u64().unwrap())
    };
    let silence = template.properties("UrlValidationsAlarm").unwrap();
    assert_eq!(seconds(silence).1, 80 * 3600);
    // A new stack has no data, which must not notify.
    assert_eq!(silence["TreatMissingData"], "missing");
    assert_eq!(silence["InsufficientDataActions"], json!([{"Ref": "AlarmTopic"}]));
    let heartbeat = template.properties("MaintenanceAlarm").unwrap();
    assert_eq!(heartbeat["TreatMissingData"], "breaching");
    // Without FILL, CloudWatch would look back over more periods than these.
    assert_eq!(heartbeat["Metrics"][0]["Expression"], "FILL(runs, 0)");
    // The schedule's interval is five minutes.
    assert!(seconds(heartbeat).1 >= 4 * 300);
    for (alarm, properties) in alarms(&template) {
        let (period, all) = seconds(properties);
        let most = if period >= 3600 { 7 * 86_400 } else { 86_400 };
        assert!(all <= most, "{alarm} looks back too far");
    }
}
