use aws_sdk_eventbridge::{
    Client,
    types::{PutEventsRequestEntry, Target},
};

use crate::{
    cloud::{Cloud, fresh},
    sqs::{arn, queue, receive},
};

/// Creates a bus with a rule for events of source `reelay`.
async fn bus_with_target(events: &Client, target_arn: &str) -> String {
    let bus = fresh("bus");
    events.create_event_bus().name(&bus).send().await.unwrap();
    let rule = events.put_rule().name("all").event_bus_name(&bus);
    let rule = rule.event_pattern(r#"{"source":["reelay"]}"#);
    rule.send().await.unwrap();
    let target = Target::builder().id("target").arn(target_arn).build();
    let put = events.put_targets().rule("all").event_bus_name(&bus);
    let put = put.targets(target.unwrap()).send().await.unwrap();
    assert_eq!(put.failed_entry_count(), 0);
    bus
}

fn event(bus: &str, source: &str) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .event_bus_name(bus)
        .source(source)
        .detail_type("recording.stored")
        .detail(r#"{"id":"msg_1"}"#)
        .build()
}

#[tokio::test]
async fn matching_event_reaches_the_queue() {
    let cloud = Cloud::start().await;
    let (events, sqs) = (cloud.events(), cloud.sqs());
    let url = queue(&sqs, &[]).await;
    let bus = bus_with_target(&events, &arn(&sqs, &url).await).await;
    let put = events.put_events().entries(event(&bus, "other"));
    let put = put.entries(event(&bus, "reelay")).send().await.unwrap();
    assert_eq!(put.failed_entry_count(), 0);
    let received = receive(&sqs, &url, 5).await;
    assert_eq!(received.len(), 1);
    let body: serde_json::Value = serde_json::from_str(received[0].body().unwrap()).unwrap();
    assert_eq!(body["source"], "reelay");
    assert_eq!(body["detail-type"], "recording.stored");
    assert_eq!(body["detail"]["id"], "msg_1");
}

#[tokio::test]
async fn event_for_a_target_that_is_not_emulated_fails() {
    let cloud = Cloud::embedded(1).await;
    let events = cloud.events();
    let lambda = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let bus = bus_with_target(&events, lambda).await;
    let put = events.put_events().entries(event(&bus, "reelay"));
    let put = put.send().await.unwrap();
    assert_eq!(put.failed_entry_count(), 1);
    assert_eq!(put.entries()[0].error_code(), Some("InvalidTarget"));
}
