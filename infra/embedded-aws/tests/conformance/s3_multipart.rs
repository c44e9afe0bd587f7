use aws_sdk_s3::{
    Client,
    config::RequestChecksumCalculation,
    operation::{
        complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder,
        list_parts::builders::ListPartsFluentBuilder, upload_part::UploadPartOutput,
        upload_part::builders::UploadPartFluentBuilder,
    },
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    cloud::{Cloud, code, status},
    s3_objects::Bucket,
};

const MIN_PART_BYTES: usize = 5 * 1024 * 1024;
const KEY: &str = "folder/key";

fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|n| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] ^ seed).collect()
}

fn crc64(bytes: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes);
    STANDARD.encode(crc.to_be_bytes())
}

struct Upload {
    bucket: Bucket,
    id: String,
}

impl Upload {
    /// Creates an upload like the downloader's: CRC64NVME of the full object, sent for each part.
    async fn create(cloud: &Cloud) -> Self {
        let checksums = Some((ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject));
        Self::with_checksums(cloud, checksums).await
    }

    async fn with_checksums(
        cloud: &Cloud,
        checksums: Option<(ChecksumAlgorithm, ChecksumType)>,
    ) -> Self {
        let config = cloud
            .s3_config()
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        let bucket = Bucket::create(&Client::from_conf(config.build())).await;
        let create = bucket.s3.create_multipart_upload().bucket(&bucket.name);
        let (algorithm, checksum_type) = checksums.unzip();
        let created = create
            .key(KEY)
            .set_checksum_algorithm(algorithm)
            .set_checksum_type(checksum_type)
            .content_type("video/mp4")
            .metadata("m", "1")
            .send()
            .await
            .unwrap();
        Self { bucket, id: created.upload_id.unwrap() }
    }

    fn upload_part(&self, number: i32) -> UploadPartFluentBuilder {
        let part = self.bucket.s3.upload_part().bucket(&self.bucket.name);
        part.key(KEY).upload_id(&self.id).part_number(number)
    }

    async fn part(&self, number: i32, bytes: &[u8]) -> CompletedPart {
        let part = self
            .upload_part(number)
            .checksum_crc64_nvme(crc64(bytes))
            .body(ByteStream::from(bytes.to_vec()));
        completed(number, &part.send().await.unwrap())
    }

    fn complete(&self, parts: &[&CompletedPart]) -> CompleteMultipartUploadFluentBuilder {
        let parts = parts.iter().map(|part| (*part).clone()).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let complete = self.bucket.s3.complete_multipart_upload();
        complete
            .bucket(&self.bucket.name)
            .key(KEY)
            .upload_id(&self.id)
            .multipart_upload(parts.build())
    }

    fn list_parts(&self) -> ListPartsFluentBuilder {
        let list = self.bucket.s3.list_parts().bucket(&self.bucket.name);
        list.key(KEY).upload_id(&self.id)
    }

    async fn uploads(&self) -> usize {
        let list = self.bucket.s3.list_multipart_uploads();
        let listed = list.bucket(&self.bucket.name).send().await.unwrap();
        listed.uploads().len()
    }

    async fn assert_no_object(&self) {
        assert_eq!(status(self.bucket.head_object(KEY).send().await), 404);
    }
}

fn completed(number: i32, part: &UploadPartOutput) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(part.e_tag().map(str::to_owned))
        .set_checksum_crc32(part.checksum_crc32().map(str::to_owned))
        .set_checksum_crc64_nvme(part.checksum_crc64_nvme().map(str::to_owned))
        .build()
}

#[tokio::test]
async fn parts_in_any_order_become_one_verified_object() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let contents = [bytes(1, MIN_PART_BYTES), bytes(2, MIN_PART_BYTES + 7), bytes(3, 99)];
    let third = upload.part(3, &contents[2]).await;
    let first = upload.part(1, &contents[0]).await;
    let second = upload.part(2, &contents[1]).await;
    upload.assert_no_object().await;
    let whole = contents.concat();
    let size = whole.len() as i64;
    let complete = || upload.complete(&[&first, &second, &third]);
    let done = complete()
        .checksum_crc64_nvme(crc64(&whole))
        .checksum_type(ChecksumType::FullObject)
        .mpu_object_size(size)
        .send()
        .await
        .unwrap();
    assert_eq!(done.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
    assert!(done.e_tag().unwrap().ends_with("-3\""));
    let head = upload.bucket.head_object(KEY);
    let head = head.checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    assert_eq!(head.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
    assert_eq!(head.content_length(), Some(size));
    assert_eq!(head.content_type(), Some("video/mp4"));
    assert_eq!(head.metadata().unwrap()["m"], "1");
    assert!(upload.bucket.read(KEY).await == whole);
    // A range across two parts.
    let (from, to) = (MIN_PART_BYTES - 10, MIN_PART_BYTES + 9);
    let get = upload.bucket.get_object(KEY);
    let got = get.range(format!("bytes={from}-{to}")).send().await.unwrap();
    let got = got.body.collect().await.unwrap().to_vec();
    assert_eq!(got, whole[from..=to]);
    assert_eq!(code(complete().send().await), "NoSuchUpload");
    assert_eq!(upload.uploads().await, 0);
}

#[tokio::test]
async fn invalid_completions_change_nothing() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let first = upload.part(1, &bytes(1, MIN_PART_BYTES)).await;
    let second = upload.part(2, &bytes(2, 10)).await;
    let part = |number: i32, etag: &str, checksum: &str| {
        CompletedPart::builder()
            .part_number(number)
            .e_tag(etag)
            .checksum_crc64_nvme(checksum)
            .build()
    };
    let (etag, checksum) = (second.e_tag().unwrap(), second.checksum_crc64_nvme().unwrap());
    let wrong_etag = part(2, "\"00000000000000000000000000000000\"", checksum);
    let wrong_checksum = part(2, etag, "AAAAAAAAAAA=");
    let absent = part(3, etag, checksum);
    let complete = |parts: &[&CompletedPart]| upload.complete(parts);
    let both = || complete(&[&first, &second]);
    for (row, (complete, expected)) in [
        (complete(&[&first, &wrong_etag]), "InvalidPart"),
        (complete(&[&first, &wrong_checksum]), "InvalidPart"),
        (complete(&[&first, &second, &absent]), "InvalidPart"),
        (complete(&[&second, &first]), "InvalidPartOrder"),
        (complete(&[&first, &first]), "InvalidPartOrder"),
        (complete(&[]), "MalformedXML"),
        (both().checksum_crc64_nvme("AAAAAAAAAAA="), "BadDigest"),
        (both().mpu_object_size(1), "InvalidRequest"),
        (both().checksum_type(ChecksumType::Composite), "InvalidRequest"),
        (both().upload_id("0000"), "NoSuchUpload"),
        (both().key("another"), "NoSuchUpload"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(code(complete.send().await), expected, "row {row}");
    }
    upload.assert_no_object().await;
    both().send().await.unwrap();
}

#[tokio::test]
async fn small_and_missing_parts_fail_the_completion() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let small = upload.part(1, &bytes(1, MIN_PART_BYTES - 1)).await;
    let second = upload.part(2, &bytes(2, 10)).await;
    let complete = upload.complete(&[&small, &second]).send().await;
    assert_eq!(code(complete), "EntityTooSmall");
    // Part numbers of an upload with checksums are consecutive from 1. AWS returns 500, these engines 400.
    upload.complete(&[&second]).send().await.unwrap_err();
    upload.assert_no_object().await;
    let first = upload.part(1, &bytes(1, MIN_PART_BYTES)).await;
    upload.complete(&[&first, &second]).send().await.unwrap();
}

#[tokio::test]
async fn repeated_part_replaces_the_first() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let old = upload.part(1, b"old").await;
    let new = upload.part(1, b"new").await;
    let complete = upload.complete(&[&old]).send().await;
    assert_eq!(code(complete), "InvalidPart");
    upload.complete(&[&new]).send().await.unwrap();
    assert_eq!(upload.bucket.read(KEY).await, b"new");
}

#[tokio::test]
async fn invalid_parts_are_rejected() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let part = |number| {
        let part = upload.upload_part(number);
        part.body(ByteStream::from_static(b"hello"))
    };
    for (part, expected) in [
        (part(1).checksum_crc64_nvme("AAAAAAAAAAA="), "BadDigest"),
        (part(1).checksum_crc32("NhCmhg=="), "InvalidRequest"),
        (part(0), "InvalidArgument"),
        (part(10_001), "InvalidArgument"),
        (part(1).upload_id("0000"), "NoSuchUpload"),
    ] {
        assert_eq!(code(part.send().await), expected);
    }
    let listed = upload.list_parts().send().await.unwrap();
    assert_eq!(listed.parts().len(), 0);
}

#[tokio::test]
async fn parts_are_listed_in_order_and_pages() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    for number in [10, 2, 1, 7, 100] {
        upload.part(number, &bytes(1, number as usize)).await;
    }
    let mut marker = None;
    let mut numbers = Vec::new();
    loop {
        let list = upload.list_parts().max_parts(2);
        let page = list.set_part_number_marker(marker).send().await.unwrap();
        for part in page.parts() {
            let number = part.part_number().unwrap();
            let content = bytes(1, number as usize);
            assert_eq!(part.size(), Some(i64::from(number)));
            assert_eq!(part.checksum_crc64_nvme(), Some(crc64(&content).as_str()));
            assert_eq!(part.e_tag().unwrap().len(), 34);
            numbers.push(number);
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_part_number_marker().map(str::to_owned);
    }
    assert_eq!(numbers, [1, 2, 7, 10, 100]);
    let absent = upload.list_parts().upload_id("0000").send().await;
    assert_eq!(code(absent), "NoSuchUpload");
}

#[tokio::test]
async fn uploads_are_listed_in_order_and_pages() {
    let cloud = Cloud::start().await;
    let bucket = Bucket::create(&cloud.s3()).await;
    let mut expected = Vec::new();
    for key in ["a", "b/1", "b/1", "b/2", "c"] {
        let create = bucket.s3.create_multipart_upload().bucket(&bucket.name);
        let created = create.key(key).send().await.unwrap();
        expected.push((key.to_owned(), created.upload_id.unwrap()));
    }
    for (prefix, expected) in [("", expected.as_slice()), ("b/", &expected[1..4])] {
        let mut markers = (None, None);
        let mut seen = Vec::new();
        loop {
            let list = bucket.s3.list_multipart_uploads().bucket(&bucket.name);
            let page = list
                .prefix(prefix)
                .max_uploads(1)
                .set_key_marker(markers.0)
                .set_upload_id_marker(markers.1);
            let page = page.send().await.unwrap();
            for upload in page.uploads() {
                assert!(upload.initiated().is_some());
                let (key, id) = (upload.key().unwrap(), upload.upload_id().unwrap());
                seen.push((key.to_owned(), id.to_owned()));
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            markers = (page.next_key_marker, page.next_upload_id_marker);
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn aborted_upload_is_gone() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let part = upload.part(1, b"x").await;
    assert_eq!(upload.uploads().await, 1);
    let abort = || {
        let abort = upload.bucket.s3.abort_multipart_upload();
        let abort = abort.bucket(&upload.bucket.name).key(KEY);
        abort.upload_id(&upload.id).send()
    };
    abort().await.unwrap();
    assert_eq!(code(abort().await), "NoSuchUpload");
    let complete = upload.complete(&[&part]).send().await;
    assert_eq!(code(complete), "NoSuchUpload");
    assert_eq!(upload.uploads().await, 0);
}

#[tokio::test]
async fn conditional_completion_checks_the_existing_object() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let part = upload.part(1, b"x").await;
    upload.bucket.put(KEY, "first").await;
    let complete = || upload.complete(&[&part]).if_none_match("*").send();
    assert_eq!(code(complete().await), "PreconditionFailed");
    upload.bucket.delete(KEY).await;
    complete().await.unwrap();
}

#[tokio::test]
async fn default_checksum_is_crc64nvme_of_the_full_object() {
    let cloud = Cloud::start().await;
    let upload = Upload::with_checksums(&cloud, None).await;
    let part = upload.upload_part(1);
    let part = part.body(ByteStream::from_static(b"123456789"));
    let part = part.send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    upload.complete(&[&part]).send().await.unwrap();
    let head = upload.bucket.head_object(KEY);
    let head = head.checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    assert_eq!(head.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn composite_checksum_needs_the_checksum_of_each_part() {
    let cloud = Cloud::start().await;
    let checksums = (ChecksumAlgorithm::Crc32, ChecksumType::Composite);
    let upload = Upload::with_checksums(&cloud, Some(checksums)).await;
    // The SDK sends the checksum in a trailer.
    let part = upload
        .upload_part(1)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .body(ByteStream::from_static(b"hello"));
    let part = completed(1, &part.send().await.unwrap());
    assert_eq!(part.checksum_crc32(), Some("NhCmhg=="));
    let without = CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let complete = upload.complete(&[&without]).send().await;
    assert_eq!(code(complete), "InvalidRequest");
    let done = upload.complete(&[&part]).send().await.unwrap();
    assert_eq!(done.checksum_type(), Some(&ChecksumType::Composite));
    assert!(done.checksum_crc32().unwrap().ends_with("-1"));
}

#[tokio::test]
async fn parts_are_received_in_parallel() {
    let cloud = Cloud::start().await;
    let upload = Upload::create(&cloud).await;
    let contents: Vec<_> = (0..8).map(|n| bytes(n, MIN_PART_BYTES + usize::from(n))).collect();
    let parts = contents.iter().zip(1..).map(|(content, number)| upload.part(number, content));
    let parts = futures_util::future::join_all(parts).await;
    let parts: Vec<_> = parts.iter().collect();
    let checksum = crc64(&contents.concat());
    let complete = upload.complete(&parts).checksum_crc64_nvme(&checksum);
    let done = complete.send().await.unwrap();
    assert_eq!(done.checksum_crc64_nvme(), Some(checksum.as_str()));
}
