//! Keeping what is sent. These run on the embedded engines only.

use reelay_embedded_aws::{Fault, Options, Service};

#[tokio::test]
async fn what_is_sent_is_kept_from_when_it_is_asked_for_whatever_comes_of_it() {
    let engines = reelay_embedded_aws::start(Options::default())
        .await
        .unwrap();
    let sqs = {
        use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&engines.endpoints().sqs);
        aws_sdk_sqs::Client::from_conf(config.build())
    };
    let made = sqs.create_queue().queue_name("q").send().await.unwrap();
    let url = made.queue_url.unwrap();
    assert!(engines.wire().sent().is_empty());

    engines.wire().keep();
    let send = |body: &str| sqs.send_message().queue_url(&url).message_body(body).send();
    send("taken").await.unwrap();
    let fault = Fault::error(400, "AccessDeniedException");
    engines.faults().fail_next(Service::Sqs, "*", 1, fault);
    send("refused").await.unwrap_err();
    let sent = engines.wire().sent();
    assert_eq!(sent.len(), 2);
    for (sent, body) in sent.iter().zip(["taken", "refused"]) {
        assert_eq!(
            (sent.service, sent.operation.as_str()),
            (Service::Sqs, "SendMessage")
        );
        let text = String::from_utf8(sent.body.to_vec()).unwrap();
        assert!(text.contains(body), "{text}");
        assert!(!format!("{sent:?}").contains(body), "Debug shows the body");
    }
    engines.shutdown().await;
}
