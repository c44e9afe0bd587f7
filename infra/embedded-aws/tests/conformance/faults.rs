//! Fault injection, call counts, observed calls and the request log. These tests run on the embedded engines
//! only.

use std::sync::{Arc, Mutex};

use aws_sdk_s3::primitives::ByteStream;
use reelay_embedded_aws::{Fault, Service};

use crate::{
    cloud::{Cloud, code, status},
    s3_objects::Bucket,
    sqs::{queue, receive},
};

#[tokio::test]
async fn counted_faults_end_and_all_calls_count() {
    let cloud = Cloud::embedded(1).await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let faults = cloud.engines.faults();
    let unavailable = Fault::error(503, "ServiceUnavailable");
    faults.fail_next(Service::Sqs, "SendMessage", 2, unavailable);
    let send = || sqs.send_message().queue_url(&url).message_body("m").send();
    assert_eq!(status(send().await), 503);
    assert_eq!(code(send().await), "ServiceUnavailable");
    send().await.unwrap();
    for (service, operation, calls) in [
        (Service::Sqs, "SendMessage", 3),
        (Service::Sqs, "CreateQueue", 1),
        (Service::S3, "PutObject", 0),
    ] {
        assert_eq!(faults.calls(service, operation), calls, "{operation}");
    }
}

#[tokio::test]
async fn sdk_retries_an_upload_after_503() {
    let cloud = Cloud::embedded(3).await;
    let bucket = Bucket::create(&cloud.s3()).await;
    let faults = cloud.engines.faults();
    faults.fail_next(Service::S3, "PutObject", 2, Fault::error(503, "SlowDown"));
    // So large that an unread body would break the connection.
    bucket.put("k", vec![7; 8_000_000]).await;
    assert_eq!(faults.calls(Service::S3, "PutObject"), 3);
}

#[tokio::test]
async fn fault_holds_until_cleared() {
    let cloud = Cloud::embedded(2).await;
    let s3 = cloud.s3();
    let bucket = Bucket::create(&s3).await;
    let faults = cloud.engines.faults();
    faults.fail_until_cleared(Service::S3, "*", Fault::error(500, "InternalError"));
    let put = bucket.put_object("k").body(ByteStream::from_static(b"x"));
    assert_eq!(code(put.send().await), "InternalError");
    assert_eq!(status(bucket.head_object("k").send().await), 500);
    faults.clear_all();
    assert_eq!(status(bucket.head_object("k").send().await), 404);
    bucket.put("k", "x").await;
}

#[tokio::test]
async fn lost_response_hides_a_call_that_took_effect() {
    let cloud = Cloud::embedded(1).await;
    let sqs = cloud.sqs();
    let bucket = Bucket::create(&cloud.s3()).await;
    let url = queue(&sqs, &[]).await;
    let faults = cloud.engines.faults();
    let observed = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&observed);
    faults.observe_with(move |call| calls.lock().unwrap().push(call.operation.to_owned()));
    let lost = Fault::connection_closed().after_effect();
    faults.fail_next(Service::S3, "PutObject", 1, lost.clone());
    faults.fail_next(Service::Sqs, "SendMessage", 1, lost);
    let put = bucket.put_object("k").body(ByteStream::from_static(b"x"));
    put.send().await.unwrap_err();
    bucket.head_object("k").send().await.unwrap();
    let send = sqs.send_message().queue_url(&url).message_body("m");
    send.send().await.unwrap_err();
    assert_eq!(receive(&sqs, &url, 1).await.len(), 1);
    assert_eq!(
        *observed.lock().unwrap(),
        ["SendMessage", "ReceiveMessage"],
        "calls to S3 are not observed"
    );
}

#[tokio::test]
async fn every_json_service_fails_and_counts() {
    let cloud = Cloud::embedded(1).await;
    let faults = cloud.engines.faults();
    let denied = Fault::error(400, "AccessDeniedException");
    macro_rules! check {
        ($service:ident, $operation:literal, $call:expr) => {
            faults.fail_until_cleared(Service::$service, "*", denied.clone());
            assert_eq!(code($call.send().await), "AccessDeniedException");
            assert_eq!(faults.calls(Service::$service, $operation), 1);
        };
    }
    check!(DynamoDb, "ListTables", cloud.dynamodb().list_tables());
    check!(EventBridge, "ListRules", cloud.events().list_rules());
    check!(Kms, "CreateKey", cloud.kms().create_key());
    let secrets = cloud.secretsmanager();
    check!(SecretsManager, "ListSecrets", secrets.list_secrets());
    check!(Sqs, "ListQueues", cloud.sqs().list_queues());
}

#[tokio::test]
async fn wrong_signature_is_rejected_and_not_counted() {
    let cloud = Cloud::embedded(1).await.with_secret_access_key("wrong");
    let listed = cloud.sqs().list_queues().send().await;
    assert_eq!(code(listed), "InvalidSignatureException");
    let created = cloud.s3().create_bucket().bucket("bucket").send().await;
    assert_eq!(code(created), "SignatureDoesNotMatch");
    let faults = cloud.engines.faults();
    assert_eq!(faults.calls(Service::Sqs, "ListQueues"), 0);
    assert_eq!(faults.calls(Service::S3, "CreateBucket"), 0);
}

#[tokio::test]
async fn request_log_holds_requests_since_its_start() {
    let cloud = Cloud::embedded(1).await;
    let sqs = cloud.sqs();
    let url = queue(&sqs, &[]).await;
    let log = cloud.engines.request_log();
    assert!(log.requests().is_empty());
    log.start();
    let send = |body: &str| sqs.send_message().queue_url(&url).message_body(body).send();
    send("accepted").await.unwrap();
    let denied = Fault::error(400, "AccessDeniedException");
    cloud.engines.faults().fail_next(Service::Sqs, "*", 1, denied);
    send("rejected").await.unwrap_err();
    let requests = log.requests();
    assert_eq!(requests.len(), 2);
    for (request, body) in requests.iter().zip(["accepted", "rejected"]) {
        assert_eq!(request.service, Service::Sqs);
        assert_eq!(request.operation, "SendMessage");
        let text = String::from_utf8(request.body.to_vec()).unwrap();
        assert!(text.contains(body), "{text}");
        assert!(!format!("{request:?}").contains(body), "Debug shows the body");
    }
}
