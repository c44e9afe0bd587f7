use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::RequestChecksumCalculation,
    operation::{
        get_object::builders::GetObjectFluentBuilder,
        head_object::builders::HeadObjectFluentBuilder,
        put_object::{PutObjectOutput, builders::PutObjectFluentBuilder},
    },
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, Delete, ObjectIdentifier,
        PublicAccessBlockConfiguration, ServerSideEncryption,
    },
};

use crate::cloud::{Cloud, code, fresh, status};

/// A new bucket and its client.
pub(crate) struct Bucket {
    pub(crate) s3: Client,
    pub(crate) name: String,
}

impl Bucket {
    pub(crate) async fn create(s3: &Client) -> Self {
        let name = fresh("bucket");
        s3.create_bucket().bucket(&name).send().await.unwrap();
        Self { s3: s3.clone(), name }
    }

    pub(crate) fn put_object(&self, key: &str) -> PutObjectFluentBuilder {
        self.s3.put_object().bucket(&self.name).key(key)
    }

    pub(crate) fn get_object(&self, key: &str) -> GetObjectFluentBuilder {
        self.s3.get_object().bucket(&self.name).key(key)
    }

    pub(crate) fn head_object(&self, key: &str) -> HeadObjectFluentBuilder {
        self.s3.head_object().bucket(&self.name).key(key)
    }

    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> PutObjectOutput {
        let put = self.put_object(key).body(bytes.into().into());
        put.send().await.unwrap()
    }

    pub(crate) async fn read(&self, key: &str) -> Vec<u8> {
        let object = self.get_object(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    pub(crate) async fn delete(&self, key: &str) {
        let delete = self.s3.delete_object().bucket(&self.name).key(key);
        delete.send().await.unwrap();
    }
}

async fn start() -> (Cloud, Bucket) {
    let cloud = Cloud::start().await;
    let bucket = Bucket::create(&cloud.s3()).await;
    (cloud, bucket)
}

#[tokio::test]
async fn absent_buckets_and_objects_are_reported() {
    let (_cloud, bucket) = start().await;
    let again = bucket.s3.create_bucket().bucket(&bucket.name).send().await;
    assert_eq!(code(again), "BucketAlreadyOwnedByYou");
    assert_eq!(code(bucket.get_object("k").send().await), "NoSuchKey");
    assert_eq!(status(bucket.head_object("k").send().await), 404);
    // Deletion of an absent object succeeds.
    bucket.delete("k").await;
    bucket.put_object("empty").send().await.unwrap();
    assert_eq!(bucket.read("empty").await, b"");
    let absent = Bucket { name: fresh("absent"), ..bucket };
    assert_eq!(code(absent.get_object("k").send().await), "NoSuchBucket");
    assert_eq!(code(absent.put_object("k").send().await), "NoSuchBucket");
}

#[tokio::test]
async fn object_keeps_its_metadata() {
    let (_cloud, bucket) = start().await;
    let key = "a b/ü+&?#.txt";
    let put = bucket
        .put_object(key)
        .content_type("text/plain")
        .content_disposition("attachment; filename=\"x.txt\"")
        .metadata("meeting", "abc==")
        .body(ByteStream::from_static(b"hello"))
        .send()
        .await
        .unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let got = bucket.get_object(key).send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/plain"));
    let disposition = got.content_disposition();
    assert_eq!(disposition, Some("attachment; filename=\"x.txt\""));
    let encoding = got.content_encoding();
    assert_eq!(encoding, None, "aws-chunked is not stored");
    assert_eq!(got.metadata().unwrap()["meeting"], "abc==");
    assert_eq!(got.content_length(), Some(5));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    let head = bucket.head_object(key).send().await.unwrap();
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.e_tag(), put.e_tag());
    assert_eq!(head.content_type(), Some("text/plain"));
    assert!(head.last_modified().is_some());
}

#[tokio::test]
async fn path_like_keys_neither_collide_nor_escape() {
    let (_cloud, bucket) = start().await;
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
        &long,
    ];
    for key in keys {
        bucket.put(key, key).await;
    }
    for key in keys {
        assert_eq!(bucket.read(key).await, key.as_bytes());
    }
    bucket.delete("p").await;
    assert_eq!(bucket.read("p/q").await, b"p/q");
}

#[tokio::test]
async fn ranges_are_served_and_checked() {
    let (_cloud, bucket) = start().await;
    bucket.put("k", "0123456789").await;
    for (range, bytes, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ] {
        let got = bucket.get_object("k").range(range).send().await.unwrap();
        assert_eq!(got.content_range(), Some(content_range));
        assert_eq!(got.content_length(), Some(bytes.len() as i64));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes.as_bytes());
    }
    let beyond = bucket.get_object("k").range("bytes=10-").send().await;
    assert_eq!(code(beyond), "InvalidRange");
}

#[tokio::test]
async fn wrong_checksum_stores_nothing() {
    let (_cloud, bucket) = start().await;
    let put = |body: &'static str| {
        let body = ByteStream::from_static(body.as_bytes());
        bucket.put_object("k").body(body)
    };
    let md5 = "AAAAAAAAAAAAAAAAAAAAAA==";
    for (put, expected) in [
        (put("hello").checksum_crc32("AAAAAA=="), "BadDigest"),
        (put("hello").checksum_crc64_nvme("AAAAAAAAAAA="), "BadDigest"),
        (put("hello").checksum_crc32("AAAA"), "InvalidRequest"),
        (put("hello").content_md5(md5), "BadDigest"),
        (put("hello").content_md5("nonsense"), "InvalidDigest"),
    ] {
        assert_eq!(code(put.send().await), expected);
    }
    assert_eq!(code(bucket.get_object("k").send().await), "NoSuchKey");
    put("hello").send().await.unwrap();
    let overwrite = put("other").checksum_crc32("AAAAAA==").send().await;
    assert_eq!(code(overwrite), "BadDigest");
    assert_eq!(bucket.read("k").await, b"hello");
}

#[tokio::test]
async fn checksum_of_each_algorithm_is_stored_and_shown() {
    let (_cloud, bucket) = start().await;
    for (algorithm, index) in [
        (ChecksumAlgorithm::Crc32, 0),
        (ChecksumAlgorithm::Crc32C, 1),
        (ChecksumAlgorithm::Crc64Nvme, 2),
    ] {
        let put = bucket.put_object("k").checksum_algorithm(algorithm);
        let put = put.body(ByteStream::from_static(b"hello"));
        let put = put.send().await.unwrap();
        let head = bucket.head_object("k");
        let plain = head.clone().send().await.unwrap();
        assert_eq!(plain.checksum_type(), None, "shown on request only");
        let head = head.checksum_mode(ChecksumMode::Enabled);
        let head = head.send().await.unwrap();
        assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
        let stored = [head.checksum_crc32(), head.checksum_crc32_c(), head.checksum_crc64_nvme()];
        let sent = [put.checksum_crc32(), put.checksum_crc32_c(), put.checksum_crc64_nvme()];
        assert_eq!(stored, sent);
        for (other, checksum) in stored.iter().enumerate() {
            assert_eq!(checksum.is_some(), other == index);
        }
        // The SDK verifies the content against the checksum.
        assert_eq!(bucket.read("k").await, b"hello");
    }
}

#[tokio::test]
async fn crc64nvme_is_computed_without_client_checksum() {
    let cloud = Cloud::start().await;
    let config =
        cloud.s3_config().request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let bucket = Bucket::create(&Client::from_conf(config.build())).await;
    bucket.put("k", "123456789").await;
    let head = bucket.head_object("k").checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    // 0xAE8B14860A799888, the check value of CRC-64/NVME.
    assert_eq!(head.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
}

#[tokio::test]
async fn lists_are_sorted_and_paged() {
    let (_cloud, bucket) = start().await;
    let keys = ["a", "b/1", "b/2", "b0", "c/1", "d"];
    for key in keys.iter().rev() {
        bucket.put(key, "xy").await;
    }
    for (prefix, expected) in
        [("", keys.as_slice()), ("b/", &["b/1", "b/2"]), ("b", &["b/1", "b/2", "b0"]), ("x", &[])]
    {
        for limit in 1..8 {
            let mut token = None;
            let mut seen = Vec::new();
            loop {
                let list = bucket.s3.list_objects_v2().bucket(&bucket.name);
                let page = list.prefix(prefix).max_keys(limit).set_continuation_token(token);
                let page = page.send().await.unwrap();
                let count = i32::try_from(page.contents().len()).unwrap();
                assert!(count <= limit);
                assert_eq!(page.key_count(), Some(count));
                for object in page.contents() {
                    assert_eq!(object.size(), Some(2));
                    seen.push(object.key().unwrap().to_owned());
                }
                token = page.next_continuation_token().map(str::to_owned);
                assert_eq!(page.is_truncated(), Some(token.is_some()));
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected);
        }
    }
    let list = bucket.s3.list_objects_v2().bucket(&bucket.name);
    let page = list.prefix("b/").start_after("b/1").send().await.unwrap();
    assert_eq!(page.contents().len(), 1);
    assert_eq!(page.contents()[0].key(), Some("b/2"));
}

#[tokio::test]
async fn conditional_writes_check_the_existing_object() {
    let (_cloud, bucket) = start().await;
    let put = |content: &'static [u8]| {
        let body = ByteStream::from_static(content);
        bucket.put_object("k").body(body)
    };
    assert_eq!(code(put(b"0").if_match("\"x\"").send().await), "NoSuchKey");
    let first = put(b"1").if_none_match("*").send().await.unwrap();
    let second = put(b"2").if_none_match("*").send().await;
    assert_eq!(code(second), "PreconditionFailed");
    let etag = first.e_tag().unwrap();
    put(b"3").if_match(etag).send().await.unwrap();
    let stale = put(b"4").if_match(etag).send().await;
    assert_eq!(code(stale), "PreconditionFailed");
    assert_eq!(bucket.read("k").await, b"3");
}

#[tokio::test]
async fn one_of_many_concurrent_creations_succeeds() {
    let (_cloud, bucket) = start().await;
    let puts = (0..20).map(|n: u8| {
        let put = bucket.put_object("k").if_none_match("*");
        put.body(vec![n].into()).send()
    });
    let results = futures_util::future::join_all(puts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
}

#[tokio::test]
async fn conditional_reads_check_the_entity_tag() {
    let (_cloud, bucket) = start().await;
    let put = bucket.put("k", "x").await;
    let etag = put.e_tag().unwrap();
    let get = || bucket.get_object("k");
    get().if_match(etag).send().await.unwrap();
    get().if_none_match("\"other\"").send().await.unwrap();
    assert_eq!(status(get().if_match("\"other\"").send().await), 412);
    assert_eq!(status(get().if_none_match(etag).send().await), 304);
}

#[tokio::test]
async fn presigned_url_serves_the_signed_request_only() {
    let (_cloud, bucket) = start().await;
    bucket.put("a/ü b.mp4", "film").await;
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let url = bucket
        .get_object("a/ü b.mp4")
        .response_content_disposition("attachment; filename=\"film.mp4\"")
        .response_content_type("video/mp4")
        .presigned(expiry)
        .await
        .unwrap();
    let http = reqwest::Client::new();
    let get = http.get(url.uri()).header("range", "bytes=1-2");
    let got = get.send().await.unwrap();
    assert_eq!(got.status(), 206);
    let disposition = &got.headers()["content-disposition"];
    assert_eq!(disposition, "attachment; filename=\"film.mp4\"");
    assert_eq!(got.headers()["content-type"], "video/mp4");
    assert_eq!(got.bytes().await.unwrap().as_ref(), b"il");

    let forged = url.uri().replace("film.mp4%22", "evil.mp4%22");
    assert_ne!(forged, url.uri());
    let unsigned = url.uri().split('?').next().unwrap();
    for url in [&forged, unsigned] {
        assert_eq!(http.get(url).send().await.unwrap().status(), 403);
    }
}

#[tokio::test]
async fn objects_are_deleted_in_bulk() {
    let (_cloud, bucket) = start().await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "x").await;
    }
    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let objects = ["a", "b", "absent"].map(named).to_vec();
    let delete = Delete::builder().set_objects(Some(objects)).build();
    let deleted = bucket.s3.delete_objects().bucket(&bucket.name);
    let deleted = deleted.delete(delete.unwrap()).send().await.unwrap();
    assert_eq!(deleted.deleted().len(), 3);
    let left = bucket.s3.list_objects_v2().bucket(&bucket.name);
    assert_eq!(left.send().await.unwrap().contents()[0].key(), Some("c"));
}

#[tokio::test]
async fn public_access_block_is_stored() {
    let (_cloud, bucket) = start().await;
    let get = || bucket.s3.get_public_access_block().bucket(&bucket.name);
    let absent = "NoSuchPublicAccessBlockConfiguration";
    assert_eq!(code(get().send().await), absent);
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(false)
        .block_public_policy(true)
        .restrict_public_buckets(false)
        .build();
    let put = bucket.s3.put_public_access_block().bucket(&bucket.name);
    let put = put.public_access_block_configuration(block.clone());
    put.send().await.unwrap();
    let stored = get().send().await.unwrap();
    assert_eq!(stored.public_access_block_configuration(), Some(&block));
    let delete = bucket.s3.delete_public_access_block().bucket(&bucket.name);
    delete.send().await.unwrap();
    assert_eq!(code(get().send().await), absent);
}

#[tokio::test]
async fn default_encryption_is_aes256() {
    let (_cloud, bucket) = start().await;
    let encryption = bucket.s3.get_bucket_encryption().bucket(&bucket.name);
    let encryption = encryption.send().await.unwrap();
    let configuration = encryption.server_side_encryption_configuration.unwrap();
    let default = configuration.rules[0].apply_server_side_encryption_by_default();
    let algorithm = default.unwrap().sse_algorithm();
    assert_eq!(*algorithm, ServerSideEncryption::Aes256);
}

#[tokio::test]
async fn overwrite_does_not_interrupt_a_reader() {
    let (_cloud, bucket) = start().await;
    let old = vec![1; 3_000_000];
    bucket.put("k", old.clone()).await;
    let reading = bucket.get_object("k").send().await.unwrap();
    bucket.put("k", vec![2; 10]).await;
    assert!(reading.body.collect().await.unwrap().to_vec() == old);
    assert_eq!(bucket.read("k").await, [2; 10]);
}

#[tokio::test]
async fn truncated_body_stores_nothing() {
    let (_cloud, bucket) = start().await;
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let url = bucket.put_object("k").presigned(expiry).await.unwrap();
    let chunks =
        [Ok(vec![1; 600_000]), Err(std::io::Error::other("connection to the source lost"))];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let put = reqwest::Client::new().put(url.uri());
    let put = put.header("content-length", "2000000").body(body);
    put.send().await.unwrap_err();
    assert_eq!(status(bucket.head_object("k").send().await), 404);
}
