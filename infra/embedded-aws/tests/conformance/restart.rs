//! State that is kept in a data directory. These run on the embedded engines only.

use std::fs;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_sdk_sqs::types::QueueAttributeName;
use reelay_embedded_aws::Options;

use crate::{
    cloud::Cloud,
    sqs::{arn, receive},
};

fn pointed_elsewhere() -> bool {
    std::env::vars().any(|(name, _)| name.starts_with("EMBEDDED_AWS_TEST_"))
}

async fn start(directory: &tempfile::TempDir) -> Cloud {
    let options = Options {
        data: Some(directory.path().join("state")),
        ..Options::default()
    };
    Cloud::with(options).await
}

#[tokio::test]
async fn objects_and_uploads_outlive_a_restart() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let s3 = cloud.s3();
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let put = s3
        .put_object()
        .bucket("bucket")
        .key("a/b")
        .metadata("m", "1")
        .content_type("text/plain");
    put.body(ByteStream::from_static(b"hello"))
        .send()
        .await
        .unwrap();
    let upload = s3
        .create_multipart_upload()
        .bucket("bucket")
        .key("big")
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    let part = s3
        .upload_part()
        .bucket("bucket")
        .key("big")
        .upload_id(id)
        .part_number(1);
    let part = part
        .body(ByteStream::from_static(b"part"))
        .send()
        .await
        .unwrap();
    cloud.engines.shutdown().await;
    // What a process that dies in the midst of a write leaves behind.
    let blobs = directory.path().join("state/s3/bucket/blobs");
    fs::write(blobs.join("orphan"), b"x").unwrap();
    fs::write(
        directory
            .path()
            .join("state/s3/bucket/objects/half.json.new"),
        b"{",
    )
    .unwrap();

    let cloud = start(&directory).await;
    assert!(!blobs.join("orphan").exists());
    let s3 = cloud.s3();
    let got = s3
        .get_object()
        .bucket("bucket")
        .key("a/b")
        .send()
        .await
        .unwrap();
    assert_eq!(got.content_type(), Some("text/plain"));
    assert_eq!(got.metadata().unwrap()["m"], "1");
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    let part = CompletedPart::builder()
        .part_number(1)
        .e_tag(part.e_tag().unwrap())
        .build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = s3
        .complete_multipart_upload()
        .bucket("bucket")
        .key("big")
        .upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    cloud.engines.shutdown().await;

    let cloud = start(&directory).await;
    let got = cloud
        .s3()
        .get_object()
        .bucket("bucket")
        .key("big")
        .send()
        .await
        .unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"part");
}

#[tokio::test]
async fn files_of_what_is_gone_go_too() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let s3 = cloud.s3();
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let put = |key: &str, body: &'static [u8]| {
        s3.put_object()
            .bucket("bucket")
            .key(key)
            .body(ByteStream::from_static(body))
            .send()
    };
    put("a", b"1").await.unwrap();
    put("a", b"2").await.unwrap();
    put("b", b"3").await.unwrap();
    let bad = s3
        .put_object()
        .bucket("bucket")
        .key("c")
        .checksum_crc32("AAAAAA==");
    assert!(
        bad.body(ByteStream::from_static(b"4"))
            .send()
            .await
            .is_err()
    );
    s3.delete_object()
        .bucket("bucket")
        .key("b")
        .send()
        .await
        .unwrap();
    let upload = s3
        .create_multipart_upload()
        .bucket("bucket")
        .key("u")
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    for _ in 0..2 {
        let part = s3
            .upload_part()
            .bucket("bucket")
            .key("u")
            .upload_id(id)
            .part_number(1);
        part.body(ByteStream::from_static(b"part"))
            .send()
            .await
            .unwrap();
    }
    let abort = s3
        .abort_multipart_upload()
        .bucket("bucket")
        .key("u")
        .upload_id(id);
    abort.send().await.unwrap();
    let bucket = directory.path().join("state/s3/bucket");
    let count = |part: &str| fs::read_dir(bucket.join(part)).unwrap().count();
    assert_eq!(
        (count("blobs"), count("objects"), count("uploads")),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn tables_outlive_a_restart() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let dynamodb = cloud.dynamodb();
    let key = KeySchemaElement::builder()
        .attribute_name("pk")
        .key_type(KeyType::Hash);
    let attribute = AttributeDefinition::builder().attribute_name("pk");
    let attribute = attribute
        .attribute_type(ScalarAttributeType::S)
        .build()
        .unwrap();
    let create = dynamodb
        .create_table()
        .table_name("kept")
        .billing_mode(BillingMode::PayPerRequest);
    let create = create
        .attribute_definitions(attribute)
        .key_schema(key.build().unwrap());
    create.send().await.unwrap();
    let pk = || AttributeValue::S("p".to_owned());
    dynamodb
        .put_item()
        .table_name("kept")
        .item("pk", pk())
        .send()
        .await
        .unwrap();
    cloud.engines.shutdown().await;

    let cloud = start(&directory).await;
    let got = cloud
        .dynamodb()
        .get_item()
        .table_name("kept")
        .key("pk", pk())
        .send()
        .await
        .unwrap();
    assert_eq!(got.item.unwrap()["pk"], pk());
}

#[tokio::test]
async fn keys_open_what_they_sealed_before_a_restart() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let kms = cloud.kms();
    let key = kms
        .create_key()
        .send()
        .await
        .unwrap()
        .key_metadata
        .unwrap()
        .key_id;
    kms.create_alias()
        .alias_name("alias/k")
        .target_key_id(&key)
        .send()
        .await
        .unwrap();
    let sealed = kms
        .encrypt()
        .key_id("alias/k")
        .plaintext(Blob::new("x"))
        .send()
        .await
        .unwrap();
    drop(cloud);

    let cloud = start(&directory).await;
    let kms = cloud.kms();
    let opened = kms
        .decrypt()
        .key_id("alias/k")
        .ciphertext_blob(sealed.ciphertext_blob.unwrap());
    assert_eq!(
        opened.send().await.unwrap().plaintext().unwrap().as_ref(),
        b"x"
    );
    let described = kms.describe_key().key_id(&key).send().await.unwrap();
    assert_eq!(described.key_metadata.unwrap().key_id(), key);
}

#[tokio::test]
async fn secrets_keep_their_versions_and_old_arns_work() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let secrets = cloud.secretsmanager();
    let created = secrets
        .create_secret()
        .name("s")
        .secret_string("one")
        .send()
        .await
        .unwrap();
    let arn = created.arn().unwrap();
    let put = secrets
        .put_secret_value()
        .secret_id(arn)
        .secret_string("two")
        .send()
        .await
        .unwrap();
    drop(cloud);

    let cloud = start(&directory).await;
    let secrets = cloud.secretsmanager();
    let current = secrets
        .get_secret_value()
        .secret_id(arn)
        .send()
        .await
        .unwrap();
    assert_eq!(current.secret_string(), Some("two"));
    assert_eq!(current.version_id(), put.version_id());
    let previous = secrets
        .get_secret_value()
        .secret_id("s")
        .version_stage("AWSPREVIOUS");
    assert_eq!(previous.send().await.unwrap().secret_string(), Some("one"));
}

#[tokio::test]
async fn queues_and_rules_outlive_a_restart() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let (sqs, events) = (cloud.sqs(), cloud.events());
    // By name the dead letter queue comes last: it may be made again after the queue that needs it.
    let dead = sqs
        .create_queue()
        .queue_name("z-dead")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    let policy = format!(
        r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":3}}"#,
        arn(&sqs, &dead).await
    );
    let create = sqs.create_queue().queue_name("a-work");
    let create = create
        .attributes(QueueAttributeName::RedrivePolicy, &policy)
        .attributes(QueueAttributeName::VisibilityTimeout, "77");
    let url = create.send().await.unwrap().queue_url.unwrap();
    events.create_event_bus().name("bus").send().await.unwrap();
    let rule = events.put_rule().name("r").event_bus_name("bus");
    rule.event_pattern(r#"{"source":["x"]}"#)
        .send()
        .await
        .unwrap();
    let target = Target::builder()
        .id("q")
        .arn(arn(&sqs, &url).await)
        .build()
        .unwrap();
    events
        .put_targets()
        .rule("r")
        .event_bus_name("bus")
        .targets(target)
        .send()
        .await
        .unwrap();
    drop(cloud);

    let cloud = start(&directory).await;
    let (sqs, events) = (cloud.sqs(), cloud.events());
    let url = sqs
        .get_queue_url()
        .queue_name("a-work")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    assert!(url.starts_with(&cloud.engines.endpoints().sqs), "{url}");
    let get = sqs
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(QueueAttributeName::All);
    let attributes = get.send().await.unwrap().attributes.unwrap();
    assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "77");
    assert_eq!(attributes[&QueueAttributeName::RedrivePolicy], policy);
    let entry = PutEventsRequestEntry::builder()
        .event_bus_name("bus")
        .source("x");
    let entry = entry.detail_type("t").detail("{}").build();
    events.put_events().entries(entry).send().await.unwrap();
    assert_eq!(receive(&sqs, &url, 5).await.len(), 1);
}

#[tokio::test]
async fn messages_outlive_a_restart_until_they_are_deleted() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let sqs = cloud.sqs();
    let url = sqs
        .create_queue()
        .queue_name("q")
        .send()
        .await
        .unwrap()
        .queue_url
        .unwrap();
    for body in ["done", "in flight", "waiting"] {
        let send = sqs
            .send_message()
            .queue_url(&url)
            .message_body(body)
            .message_group_id("g");
        send.send().await.unwrap();
    }
    for message in receive(&sqs, &url, 1).await {
        if message.body() == Some("done") {
            let delete = sqs.delete_message().queue_url(&url);
            delete
                .receipt_handle(message.receipt_handle().unwrap())
                .send()
                .await
                .unwrap();
        }
    }
    drop(cloud);

    for _ in 0..2 {
        let cloud = start(&directory).await;
        let sqs = cloud.sqs();
        let url = sqs
            .get_queue_url()
            .queue_name("q")
            .send()
            .await
            .unwrap()
            .queue_url
            .unwrap();
        let mut bodies: Vec<_> = receive(&sqs, &url, 1)
            .await
            .into_iter()
            .filter_map(|message| message.body)
            .collect();
        bodies.sort();
        assert_eq!(bodies, ["in flight", "waiting"]);
    }
}

#[tokio::test]
async fn a_directory_serves_one_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let options = Options {
        data: Some(directory.path().join("state")),
        ..Options::default()
    };
    let second = reelay_embedded_aws::start(options).await;
    assert!(
        matches!(second, Err(reelay_embedded_aws::StartError::InUse(_))),
        "{second:?}"
    );
    cloud.engines.shutdown().await;
    start(&directory).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let s3 = cloud.s3();
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let presigning = aws_sdk_s3::presigning::PresigningConfig::expires_in(hour).unwrap();
    let put = s3
        .put_object()
        .bucket("bucket")
        .key("k")
        .presigned(presigning)
        .await
        .unwrap();
    let chunks = [
        Ok(vec![1; 600_000]),
        Ok(vec![2; 600_000]),
        Err(std::io::Error::other("the source is gone")),
    ];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let sent = reqwest::Client::new()
        .put(put.uri())
        .header("content-length", "2000000")
        .body(body)
        .send()
        .await;
    assert!(sent.is_err());
    let blobs = directory.path().join("state/s3/bucket/blobs");
    for _ in 0..100 {
        if fs::read_dir(&blobs).unwrap().count() == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 0);
    assert!(
        s3.head_object()
            .bucket("bucket")
            .key("k")
            .send()
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_upload_whose_object_was_made_is_over_even_if_its_record_is_left() {
    if pointed_elsewhere() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let cloud = start(&directory).await;
    let s3 = cloud.s3();
    s3.create_bucket().bucket("bucket").send().await.unwrap();
    let upload = s3
        .create_multipart_upload()
        .bucket("bucket")
        .key("k")
        .send()
        .await
        .unwrap();
    let id = upload.upload_id().unwrap();
    let part = s3
        .upload_part()
        .bucket("bucket")
        .key("k")
        .upload_id(id)
        .part_number(1);
    let part = part
        .body(ByteStream::from_static(b"part"))
        .send()
        .await
        .unwrap();
    // The process dies after the object was made and before the upload was removed.
    let record = directory.path().join("state/s3/bucket/uploads").join(id);
    let saved: Vec<_> = ["upload.json", "1.json"]
        .map(|name| (record.join(name), fs::read(record.join(name)).unwrap()))
        .into();
    let part = CompletedPart::builder()
        .part_number(1)
        .e_tag(part.e_tag().unwrap())
        .build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = s3
        .complete_multipart_upload()
        .bucket("bucket")
        .key("k")
        .upload_id(id);
    complete.multipart_upload(parts).send().await.unwrap();
    cloud.engines.shutdown().await;
    fs::create_dir(&record).unwrap();
    for (path, bytes) in saved {
        fs::write(path, bytes).unwrap();
    }

    let cloud = start(&directory).await;
    let s3 = cloud.s3();
    let abort = s3
        .abort_multipart_upload()
        .bucket("bucket")
        .key("k")
        .upload_id(id);
    assert_eq!(crate::cloud::code(abort.send().await), "NoSuchUpload");
    let got = s3
        .get_object()
        .bucket("bucket")
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"part");
}
