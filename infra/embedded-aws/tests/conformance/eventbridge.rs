use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};

use crate::{
    cloud::{Cloud, fresh},
    sqs::{arn, queue, receive},
};

#[tokio::test]
async fn an_event_that_matches_reaches_the_queue() {
    let cloud = Cloud::start().await;
    let (events, sqs) = (cloud.events(), cloud.sqs());
    let url = queue(&sqs, &[]).await;
    let bus = fresh("bus");
    events.create_event_bus().name(&bus).send().await.unwrap();
    let rule = events.put_rule().name("all").event_bus_name(&bus);
    rule.event_pattern(r#"{"source":["reelay"]}"#)
        .send()
        .await
        .unwrap();
    let target = Target::builder()
        .id("queue")
        .arn(arn(&sqs, &url).await)
        .build()
        .unwrap();
    let put = events
        .put_targets()
        .rule("all")
        .event_bus_name(&bus)
        .targets(target);
    assert_eq!(put.send().await.unwrap().failed_entry_count(), 0);
    let event = |source: &str| {
        PutEventsRequestEntry::builder()
            .event_bus_name(&bus)
            .source(source)
            .detail_type("recording.stored")
            .detail(r#"{"id":"msg_1"}"#)
            .build()
    };
    let put = events
        .put_events()
        .entries(event("other"))
        .entries(event("reelay"));
    assert_eq!(put.send().await.unwrap().failed_entry_count(), 0);
    let received = receive(&sqs, &url, 5).await;
    assert_eq!(received.len(), 1);
    let body: serde_json::Value = serde_json::from_str(received[0].body().unwrap()).unwrap();
    assert_eq!(body["source"], "reelay");
    assert_eq!(body["detail-type"], "recording.stored");
    assert_eq!(body["detail"]["id"], "msg_1");
}

#[tokio::test]
async fn an_event_for_a_target_that_is_not_here_fails_openly() {
    let cloud = Cloud::start().await;
    if std::env::var_os("EMBEDDED_AWS_TEST_EVENTS_ENDPOINT").is_some() {
        return;
    }
    let events = cloud.events();
    events
        .put_rule()
        .name("r")
        .event_pattern(r#"{"source":["x"]}"#)
        .send()
        .await
        .unwrap();
    let lambda = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let target = Target::builder().id("f").arn(lambda).build().unwrap();
    events
        .put_targets()
        .rule("r")
        .targets(target)
        .send()
        .await
        .unwrap();
    let entry = PutEventsRequestEntry::builder()
        .source("x")
        .detail_type("t")
        .detail("{}")
        .build();
    let put = events.put_events().entries(entry).send().await.unwrap();
    assert_eq!(put.failed_entry_count(), 1);
    assert_eq!(put.entries()[0].error_code(), Some("InvalidTarget"));
}
