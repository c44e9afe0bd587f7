//! Faults on demand. These run on the embedded engines only.

use aws_sdk_s3::{config::retry::RetryConfig, primitives::ByteStream};
use reelay_embedded_aws::{Fault, Options, Service};

use crate::cloud::Cloud;

/// Engines that no variable points elsewhere, with clients that do not retry.
struct Broken {
    engines: reelay_embedded_aws::Engines,
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
}

async fn start(attempts: u32) -> Broken {
    let engines = reelay_embedded_aws::start(Options::default())
        .await
        .unwrap();
    let retry = RetryConfig::standard()
        .with_max_attempts(attempts)
        .with_initial_backoff(std::time::Duration::from_millis(1));
    let s3 = {
        use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&engines.endpoints().s3)
            .force_path_style(true)
            .retry_config(retry.clone());
        aws_sdk_s3::Client::from_conf(config.build())
    };
    let sqs = {
        use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&engines.endpoints().sqs)
            .retry_config(retry);
        aws_sdk_sqs::Client::from_conf(config.build())
    };
    Broken { engines, s3, sqs }
}

#[tokio::test]
async fn the_next_calls_fail_and_all_are_counted() {
    let Broken { engines, sqs, .. } = start(1).await;
    let url = sqs
        .create_queue()
        .queue_name("q")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let faults = engines.faults();
    faults.fail_next(
        Service::Sqs,
        "SendMessage",
        2,
        Fault::error(503, "ServiceUnavailable"),
    );
    let send = || sqs.send_message().queue_url(&url).message_body("m");
    for _ in 0..2 {
        let error = send().send().await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 503);
        assert_eq!(
            crate::cloud::code::<(), _, _>(Err(error)),
            "ServiceUnavailable"
        );
    }
    send().send().await.unwrap();
    assert_eq!(faults.calls(Service::Sqs, "SendMessage"), 3);
    assert_eq!(faults.calls(Service::Sqs, "CreateQueue"), 1);
    assert_eq!(faults.calls(Service::S3, "PutObject"), 0);
}

#[tokio::test]
async fn the_sdk_retries_what_a_service_that_is_down_answers() {
    let Broken { engines, s3, .. } = start(3).await;
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let faults = engines.faults();
    faults.fail_next(Service::S3, "PutObject", 2, Fault::error(503, "SlowDown"));
    // Big enough that a body left unread would break the connection.
    let body = ByteStream::from(vec![7; 8_000_000]);
    s3.put_object()
        .bucket("bucket")
        .key("k")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(faults.calls(Service::S3, "PutObject"), 3);
}

#[tokio::test]
async fn a_fault_until_cleared_keeps_the_operation_down() {
    let Broken { engines, s3, .. } = start(2).await;
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let faults = engines.faults();
    faults.fail_until_cleared(Service::S3, "*", Fault::error(500, "InternalError"));
    let put = || {
        s3.put_object()
            .bucket("bucket")
            .key("k")
            .body(ByteStream::from_static(b"x"))
    };
    assert_eq!(crate::cloud::code(put().send().await), "InternalError");
    assert!(
        s3.head_object()
            .bucket("bucket")
            .key("k")
            .send()
            .await
            .is_err()
    );
    faults.clear_all();
    let head = s3.head_object().bucket("bucket").key("k").send().await;
    assert!(head.unwrap_err().into_service_error().is_not_found());
    put().send().await.unwrap();
}

#[tokio::test]
async fn a_lost_reply_hides_what_took_effect() {
    let Broken { engines, s3, sqs } = start(1).await;
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let url = sqs
        .create_queue()
        .queue_name("q")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let faults = engines.faults();
    faults.fail_next(
        Service::S3,
        "PutObject",
        1,
        Fault::connection_cut().after_effect(),
    );
    faults.fail_next(
        Service::Sqs,
        "SendMessage",
        1,
        Fault::connection_cut().after_effect(),
    );
    let put = s3
        .put_object()
        .bucket("bucket")
        .key("k")
        .body(ByteStream::from_static(b"x"));
    assert!(put.send().await.is_err());
    s3.head_object()
        .bucket("bucket")
        .key("k")
        .send()
        .await
        .unwrap();
    assert!(
        sqs.send_message()
            .queue_url(&url)
            .message_body("m")
            .send()
            .await
            .is_err()
    );
    let received = sqs
        .receive_message()
        .queue_url(&url)
        .wait_time_seconds(1)
        .send()
        .await
        .unwrap();
    assert_eq!(received.messages().len(), 1);
}

#[tokio::test]
async fn every_service_counts_and_fails() {
    let cloud = Cloud::with(Options::default()).await;
    let faults = cloud.engines.faults();
    for service in [
        Service::DynamoDb,
        Service::Kms,
        Service::SecretsManager,
        Service::EventBridge,
    ] {
        faults.fail_until_cleared(service, "*", Fault::error(400, "AccessDeniedException"));
    }
    let elsewhere = std::env::vars().any(|(name, _)| name.starts_with("EMBEDDED_AWS_TEST_"));
    if elsewhere {
        return;
    }
    use crate::cloud::code;
    assert_eq!(
        code(cloud.dynamodb().list_tables().send().await),
        "AccessDeniedException"
    );
    assert_eq!(
        code(cloud.kms().list_keys().send().await),
        "AccessDeniedException"
    );
    assert_eq!(
        code(cloud.secretsmanager().list_secrets().send().await),
        "AccessDeniedException"
    );
    assert_eq!(
        code(cloud.events().list_rules().send().await),
        "AccessDeniedException"
    );
    assert_eq!(faults.calls(Service::DynamoDb, "ListTables"), 1);
    assert_eq!(faults.calls(Service::Kms, "ListKeys"), 1);
    assert_eq!(faults.calls(Service::SecretsManager, "ListSecrets"), 1);
    assert_eq!(faults.calls(Service::EventBridge, "ListRules"), 1);
}

#[tokio::test]
async fn a_json_call_with_a_wrong_secret_is_refused() {
    use aws_sdk_sqs::config::{BehaviorVersion, Config, Credentials, Region};
    let Broken { engines, .. } = start(1).await;
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "wrong", None, None, "test"))
        .endpoint_url(&engines.endpoints().sqs);
    let sqs = aws_sdk_sqs::Client::from_conf(config.build());
    assert_eq!(
        crate::cloud::code(sqs.list_queues().send().await),
        "InvalidSignatureException"
    );
    assert_eq!(engines.faults().calls(Service::Sqs, "ListQueues"), 0);
}
