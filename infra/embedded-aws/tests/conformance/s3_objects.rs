use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::RequestChecksumCalculation,
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{
        BucketLifecycleConfiguration, ChecksumAlgorithm, ChecksumMode, ChecksumType, Delete,
        ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
        MetadataDirective, ObjectIdentifier, PublicAccessBlockConfiguration,
    },
};

use crate::cloud::{Cloud, code, fresh, status};

pub(crate) async fn bucket(s3: &Client) -> String {
    let name = fresh("bucket");
    s3.create_bucket().bucket(&name).send().await.unwrap();
    name
}

fn body(bytes: impl Into<Vec<u8>>) -> ByteStream {
    ByteStream::from(bytes.into())
}

async fn read(s3: &Client, bucket: &str, key: &str) -> Vec<u8> {
    let object = s3
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .unwrap();
    object.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn buckets_are_made_listed_and_removed_when_empty() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    s3.head_bucket().bucket(&bucket).send().await.unwrap();
    let listed = s3.list_buckets().send().await.unwrap();
    assert!(listed.buckets().iter().any(|b| b.name() == Some(&bucket)));
    s3.put_object()
        .bucket(&bucket)
        .key("k")
        .body(body("x"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        code(s3.delete_bucket().bucket(&bucket).send().await),
        "BucketNotEmpty"
    );
    s3.delete_object()
        .bucket(&bucket)
        .key("k")
        .send()
        .await
        .unwrap();
    s3.delete_bucket().bucket(&bucket).send().await.unwrap();
    assert_eq!(status(s3.head_bucket().bucket(&bucket).send().await), 404);
    let put = s3.put_object().bucket(&bucket).key("k").body(body("x"));
    assert_eq!(code(put.send().await), "NoSuchBucket");
}

#[tokio::test]
async fn an_object_comes_back_with_everything_said_of_it() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let put = s3
        .put_object()
        .bucket(&bucket)
        .key("a b/ü+&?#.txt")
        .content_type("text/plain")
        .content_disposition("attachment; filename=\"x.txt\"")
        .metadata("meeting", "abc==")
        .body(body("hello"))
        .send()
        .await
        .unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let got = s3
        .get_object()
        .bucket(&bucket)
        .key("a b/ü+&?#.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(got.content_type(), Some("text/plain"));
    assert_eq!(
        got.content_disposition(),
        Some("attachment; filename=\"x.txt\"")
    );
    assert_eq!(
        got.content_encoding(),
        None,
        "aws-chunked is not the object's"
    );
    assert_eq!(got.metadata().unwrap().get("meeting").unwrap(), "abc==");
    assert_eq!(got.content_length(), Some(5));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("a b/ü+&?#.txt")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.e_tag(), put.e_tag());
    assert_eq!(head.content_type(), Some("text/plain"));
    assert!(head.last_modified().is_some());
}

#[tokio::test]
async fn empty_and_absent_objects_differ() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    s3.put_object()
        .bucket(&bucket)
        .key("empty")
        .send()
        .await
        .unwrap();
    assert_eq!(read(&s3, &bucket, "empty").await, b"");
    assert_eq!(
        code(s3.get_object().bucket(&bucket).key("none").send().await),
        "NoSuchKey"
    );
    assert_eq!(
        status(s3.head_object().bucket(&bucket).key("none").send().await),
        404
    );
    // Deleting what is not there is no error.
    s3.delete_object()
        .bucket(&bucket)
        .key("none")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn keys_that_are_paths_neither_collide_nor_escape() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let long = "x".repeat(1024);
    let keys = [
        "p",
        "p/q",
        "p/q/r",
        "p//q",
        "../x",
        "a/../../x",
        "/",
        "./y",
        ".hidden",
        "CON",
        "a\\b",
        "P",
        long.as_str(),
    ];
    for key in keys {
        s3.put_object()
            .bucket(&bucket)
            .key(key)
            .body(body(key))
            .send()
            .await
            .unwrap();
    }
    for key in keys {
        assert_eq!(read(&s3, &bucket, key).await, key.as_bytes());
    }
    s3.delete_object()
        .bucket(&bucket)
        .key("p")
        .send()
        .await
        .unwrap();
    assert_eq!(read(&s3, &bucket, "p/q").await, b"p/q");
}

#[tokio::test]
async fn ranges_are_single_and_checked() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    s3.put_object()
        .bucket(&bucket)
        .key("k")
        .body(body("0123456789"))
        .send()
        .await
        .unwrap();
    for (range, bytes, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let got = s3
            .get_object()
            .bucket(&bucket)
            .key("k")
            .range(range)
            .send()
            .await
            .unwrap();
        assert_eq!(got.content_range(), Some(content_range));
        assert_eq!(got.content_length(), Some(bytes.len() as i64));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes.as_bytes());
    }
    let beyond = s3.get_object().bucket(&bucket).key("k").range("bytes=10-");
    assert_eq!(code(beyond.send().await), "InvalidRange");
}

#[tokio::test]
async fn a_wrong_checksum_leaves_nothing() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let put = || s3.put_object().bucket(&bucket).key("k").body(body("hello"));
    assert_eq!(
        code(put().checksum_crc32("AAAAAA==").send().await),
        "BadDigest"
    );
    assert_eq!(
        code(put().checksum_crc64_nvme("AAAAAAAAAAA=").send().await),
        "BadDigest"
    );
    assert_eq!(
        code(put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await),
        "BadDigest"
    );
    assert_eq!(
        code(put().content_md5("nonsense").send().await),
        "InvalidDigest"
    );
    assert_eq!(
        code(s3.get_object().bucket(&bucket).key("k").send().await),
        "NoSuchKey"
    );
    put().send().await.unwrap();
    assert_eq!(
        code(
            put()
                .checksum_crc32("AAAAAA==")
                .body(body("other"))
                .send()
                .await
        ),
        "BadDigest"
    );
    assert_eq!(read(&s3, &bucket, "k").await, b"hello");
}

#[tokio::test]
async fn every_algorithm_is_verified_kept_and_shown_on_demand() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let put = s3
            .put_object()
            .bucket(&bucket)
            .key("k")
            .checksum_algorithm(algorithm.clone())
            .body(body("hello"))
            .send()
            .await
            .unwrap();
        let head = s3.head_object().bucket(&bucket).key("k");
        let plain = head.clone().send().await.unwrap();
        assert_eq!(plain.checksum_type(), None);
        let head = head
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
        let sums = [
            (
                put.checksum_crc32(),
                head.checksum_crc32(),
                ChecksumAlgorithm::Crc32,
            ),
            (
                put.checksum_crc32_c(),
                head.checksum_crc32_c(),
                ChecksumAlgorithm::Crc32C,
            ),
            (
                put.checksum_crc64_nvme(),
                head.checksum_crc64_nvme(),
                ChecksumAlgorithm::Crc64Nvme,
            ),
            (
                put.checksum_sha1(),
                head.checksum_sha1(),
                ChecksumAlgorithm::Sha1,
            ),
            (
                put.checksum_sha256(),
                head.checksum_sha256(),
                ChecksumAlgorithm::Sha256,
            ),
        ];
        for (put, head, of) in sums {
            assert_eq!(put, head);
            assert_eq!(head.is_some(), of == algorithm, "{of:?} of {algorithm:?}");
        }
        // The SDK verifies what it reads against the checksum.
        assert_eq!(read(&s3, &bucket, "k").await, b"hello");
    }
}

#[tokio::test]
async fn crc64nvme_is_computed_for_a_client_that_sends_no_checksum() {
    let cloud = Cloud::start().await;
    let config = cloud
        .s3_config()
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let s3 = Client::from_conf(config.build());
    let bucket = bucket(&s3).await;
    s3.put_object()
        .bucket(&bucket)
        .key("k")
        .body(body("123456789"))
        .send()
        .await
        .unwrap();
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("k")
        .checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    // 0xAE8B14860A799888, the check value of CRC-64/NVME.
    assert_eq!(head.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
}

#[tokio::test]
async fn lists_are_sorted_paged_and_rolled_up() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let keys = ["a", "b/1", "b/2", "c/1", "d"];
    for key in keys.iter().rev() {
        s3.put_object()
            .bucket(&bucket)
            .key(*key)
            .body(body("xy"))
            .send()
            .await
            .unwrap();
    }
    let mut token = None;
    let mut seen = Vec::new();
    loop {
        let page = s3
            .list_objects_v2()
            .bucket(&bucket)
            .max_keys(2)
            .set_continuation_token(token);
        let page = page.send().await.unwrap();
        assert!(page.contents().len() <= 2);
        assert_eq!(page.key_count(), Some(page.contents().len() as i32));
        assert!(
            page.contents()
                .iter()
                .all(|object| object.size() == Some(2))
        );
        seen.extend(
            page.contents()
                .iter()
                .map(|object| object.key().unwrap().to_owned()),
        );
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, keys);

    let page = s3
        .list_objects_v2()
        .bucket(&bucket)
        .delimiter("/")
        .send()
        .await
        .unwrap();
    let prefixes: Vec<_> = page
        .common_prefixes()
        .iter()
        .map(|p| p.prefix().unwrap())
        .collect();
    assert_eq!(prefixes, ["b/", "c/"]);
    assert_eq!(page.contents().len(), 2);
    let page = s3
        .list_objects_v2()
        .bucket(&bucket)
        .prefix("b/")
        .start_after("b/1");
    let page = page.send().await.unwrap();
    assert_eq!(page.contents().len(), 1);
    assert_eq!(page.contents()[0].key(), Some("b/2"));
}

#[tokio::test]
async fn conditional_writes_see_what_is_there() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let put = |content: &'static str| s3.put_object().bucket(&bucket).key("k").body(body(content));
    assert_eq!(code(put("0").if_match("\"x\"").send().await), "NoSuchKey");
    let first = put("1").if_none_match("*").send().await.unwrap();
    assert_eq!(
        code(put("2").if_none_match("*").send().await),
        "PreconditionFailed"
    );
    let etag = first.e_tag().unwrap();
    put("3").if_match(etag).send().await.unwrap();
    assert_eq!(
        code(put("4").if_match(etag).send().await),
        "PreconditionFailed"
    );
    assert_eq!(read(&s3, &bucket, "k").await, b"3");
}

#[tokio::test]
async fn of_many_writers_that_want_to_be_first_one_is() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let put = s3.put_object().bucket(&bucket).key("k").if_none_match("*");
            tokio::spawn(put.body(body(format!("{n}"))).send())
        })
        .collect();
    let mut winners = 0;
    for writer in writers {
        winners += usize::from(writer.await.unwrap().is_ok());
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn conditional_reads_follow_the_tag() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let put = s3
        .put_object()
        .bucket(&bucket)
        .key("k")
        .body(body("x"))
        .send()
        .await
        .unwrap();
    let get = || s3.get_object().bucket(&bucket).key("k");
    let etag = put.e_tag().unwrap();
    get().if_match(etag).send().await.unwrap();
    assert_eq!(status(get().if_match("\"other\"").send().await), 412);
    assert_eq!(status(get().if_none_match(etag).send().await), 304);
    get().if_none_match("\"other\"").send().await.unwrap();
}

#[tokio::test]
async fn a_presigned_url_serves_a_browser_with_headers_of_choice() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    s3.put_object()
        .bucket(&bucket)
        .key("a/ü b.mp4")
        .body(body("film"))
        .send()
        .await
        .unwrap();
    let url = s3
        .get_object()
        .bucket(&bucket)
        .key("a/ü b.mp4")
        .response_content_disposition("attachment; filename=\"film.mp4\"")
        .response_content_type("video/mp4")
        .presigned(PresigningConfig::expires_in(Duration::from_secs(60)).unwrap())
        .await
        .unwrap();
    let http = reqwest::Client::new();
    let got = http
        .get(url.uri())
        .header("range", "bytes=1-2")
        .send()
        .await
        .unwrap();
    assert_eq!(got.status(), 206);
    assert_eq!(
        got.headers()["content-disposition"],
        "attachment; filename=\"film.mp4\""
    );
    assert_eq!(got.headers()["content-type"], "video/mp4");
    assert_eq!(got.bytes().await.unwrap().as_ref(), b"il");

    let forged = url.uri().replace("film.mp4%22", "evil.mp4%22");
    assert_ne!(forged, url.uri());
    assert_eq!(http.get(forged).send().await.unwrap().status(), 403);
    let unsigned = url.uri().split('?').next().unwrap();
    assert_eq!(http.get(unsigned).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    use aws_sdk_s3::config::Credentials;
    let cloud = Cloud::start().await;
    let wrong = Credentials::new("test", "wrong", None, None, "test");
    let s3 = Client::from_conf(cloud.s3_config().credentials_provider(wrong).build());
    assert_eq!(
        code(s3.list_buckets().send().await),
        "SignatureDoesNotMatch"
    );
}

#[tokio::test]
async fn many_objects_go_at_once() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    for key in ["a", "b", "c"] {
        s3.put_object()
            .bucket(&bucket)
            .key(key)
            .body(body("x"))
            .send()
            .await
            .unwrap();
    }
    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete = Delete::builder()
        .objects(named("a"))
        .objects(named("b"))
        .objects(named("zzz"));
    let deleted = s3
        .delete_objects()
        .bucket(&bucket)
        .delete(delete.build().unwrap());
    let deleted = deleted.send().await.unwrap();
    assert_eq!(deleted.deleted().len(), 3);
    let left = s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
    assert_eq!(left.contents().len(), 1);
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_what_is_said_of_it() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let put = s3
        .put_object()
        .bucket(&bucket)
        .key("a")
        .content_type("text/plain")
        .metadata("m", "1");
    put.body(body("hello")).send().await.unwrap();
    let copy = || {
        s3.copy_object()
            .bucket(&bucket)
            .copy_source(format!("{bucket}/a"))
    };
    copy().key("b").send().await.unwrap();
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("b")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(head.metadata().unwrap()["m"], "1");
    let replaced = copy()
        .key("c")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("m", "2");
    replaced.send().await.unwrap();
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("c")
        .send()
        .await
        .unwrap();
    assert_eq!(head.metadata().unwrap()["m"], "2");
    assert_eq!(read(&s3, &bucket, "c").await, b"hello");
}

#[tokio::test]
async fn lifecycle_rules_are_kept() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let get = || s3.get_bucket_lifecycle_configuration().bucket(&bucket);
    assert_eq!(code(get().send().await), "NoSuchLifecycleConfiguration");
    let rule = LifecycleRule::builder()
        .id("old")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("x/").build())
        .expiration(LifecycleExpiration::builder().days(7).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder()
        .rules(rule.clone())
        .build()
        .unwrap();
    let put = s3
        .put_bucket_lifecycle_configuration()
        .bucket(&bucket)
        .lifecycle_configuration(rules);
    put.send().await.unwrap();
    assert_eq!(get().send().await.unwrap().rules(), [rule]);
}

#[tokio::test]
async fn the_public_access_block_is_kept_and_encryption_is_what_aws_gives_unasked() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let get = || s3.get_public_access_block().bucket(&bucket);
    assert_eq!(
        code(get().send().await),
        "NoSuchPublicAccessBlockConfiguration"
    );
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(false)
        .block_public_policy(true)
        .restrict_public_buckets(false)
        .build();
    let put = s3.put_public_access_block().bucket(&bucket);
    let put = put.public_access_block_configuration(block.clone());
    put.send().await.unwrap();
    let kept = get().send().await.unwrap();
    assert_eq!(kept.public_access_block_configuration(), Some(&block));
    let delete = s3.delete_public_access_block().bucket(&bucket);
    delete.send().await.unwrap();
    assert_eq!(
        code(get().send().await),
        "NoSuchPublicAccessBlockConfiguration"
    );

    let encryption = s3.get_bucket_encryption().bucket(&bucket);
    let encryption = encryption.send().await.unwrap();
    let rules = encryption
        .server_side_encryption_configuration
        .unwrap()
        .rules;
    let default = rules[0].apply_server_side_encryption_by_default().unwrap();
    assert_eq!(
        *default.sse_algorithm(),
        aws_sdk_s3::types::ServerSideEncryption::Aes256
    );
}

#[tokio::test]
async fn a_reader_gets_one_version_while_another_is_written() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let old = vec![1; 3_000_000];
    s3.put_object()
        .bucket(&bucket)
        .key("k")
        .body(body(old.clone()))
        .send()
        .await
        .unwrap();
    let reading = s3
        .get_object()
        .bucket(&bucket)
        .key("k")
        .send()
        .await
        .unwrap();
    s3.put_object()
        .bucket(&bucket)
        .key("k")
        .body(body(vec![2; 10]))
        .send()
        .await
        .unwrap();
    assert!(reading.body.collect().await.unwrap().to_vec() == old);
    assert_eq!(read(&s3, &bucket, "k").await, [2; 10]);
}
