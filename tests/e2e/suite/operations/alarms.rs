//! Alarms, their metrics, and the runbook agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use reelay_devstack::template::Template;
use reelay_runtime::metrics::{DIMENSIONS, Metric, NAMESPACE};
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

#[test]
fn alarms_watch_metrics_that_functions_write() {
    let template = Template::of_repository().unwrap();
    let sources = sources();
    let mut ours = 0;
    for (alarm, properties) in alarms(&template) {
        if properties["Namespace"] != NAMESPACE {
            continue;
        }
        ours += 1;
        let name = properties["MetricName"].as_str().unwrap();
        let metric = Metric::ALL.iter().find(|metric| metric.name() == name);
        let metric = metric.unwrap_or_else(|| panic!("{alarm} watches {name}, which is none"));
        let dimensions = properties["Dimensions"].as_array().unwrap();
        let names: Vec<&str> = dimensions.iter().map(|it| it["Name"].as_str().unwrap()).collect();
        assert!(DIMENSIONS.contains(&names.as_slice()), "{alarm}: nothing stands under {names:?}");
        assert_eq!(dimensions[0]["Value"], json!({"Ref": "AWS::StackName"}), "{alarm}");
        // An alarm on an unused reason would never fire.
        if let Some(reason) = dimensions.get(1) {
            let reason = format!("\"{}\"", reason["Value"].as_str().unwrap());
            assert!(sources.contains(&reason), "{alarm}: unused reason {reason}");
        }
        let statistic = match metric.unit() {
            "Count" => &properties["Statistic"],
            _ => &properties["ExtendedStatistic"],
        };
        let fits = if metric.unit() == "Count" { "Sum" } else { "p95" };
        assert_eq!(*statistic, fits, "{alarm}");
    }
    assert!(ours > 5, "the alarms are not read");
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
fn silence_alarm_covers_eighty_hours() {
    let template = Template::of_repository().unwrap();
    let seconds = |properties: &Value| {
        let number = |name: &str| properties[name].as_u64().unwrap_or_default();
        (number("Period"), number("Period") * number("EvaluationPeriods"))
    };
    let silence = template.properties("UrlValidationsAlarm").unwrap();
    assert_eq!(seconds(silence).1, 80 * 3600);
    assert_eq!(silence["TreatMissingData"], "breaching");
    for (alarm, properties) in alarms(&template) {
        let (period, all) = seconds(properties);
        let most = if period >= 3600 { 7 * 86_400 } else { 86_400 };
        assert!(all <= most, "{alarm} looks back too far");
    }
}
