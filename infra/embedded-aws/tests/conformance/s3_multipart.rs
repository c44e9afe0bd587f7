use std::collections::BTreeSet;

use aws_sdk_s3::{
    Client,
    config::RequestChecksumCalculation,
    operation::upload_part::UploadPartOutput,
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    cloud::{Cloud, code, fresh},
    s3_objects::bucket,
};

const MIN: usize = 5 * 1024 * 1024;

fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] ^ seed)
        .collect()
}

fn crc64(bytes: &[u8]) -> String {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes);
    STANDARD.encode(sum.to_be_bytes())
}

struct Upload {
    s3: Client,
    bucket: String,
    key: String,
    id: String,
}

impl Upload {
    /// As a downloader makes it: CRC64NVME of the full object, sent for each part.
    async fn begin(cloud: &Cloud) -> Self {
        let config = cloud
            .s3_config()
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        let s3 = Client::from_conf(config.build());
        let bucket = bucket(&s3).await;
        let key = fresh("key");
        let created = s3
            .create_multipart_upload()
            .bucket(&bucket)
            .key(&key)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject)
            .content_type("video/mp4")
            .metadata("m", "1")
            .send()
            .await
            .unwrap();
        let id = created.upload_id().unwrap().to_owned();
        Self {
            s3,
            bucket,
            key,
            id,
        }
    }

    async fn part(&self, number: i32, bytes: &[u8]) -> CompletedPart {
        let put = self
            .s3
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_crc64_nvme(crc64(bytes))
            .body(ByteStream::from(bytes.to_vec()));
        completed(number, &put.send().await.unwrap())
    }

    fn complete(
        &self,
        parts: &[&CompletedPart],
    ) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder
    {
        let parts = parts.iter().map(|part| (*part).clone()).collect();
        self.s3
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
    }

    async fn is_absent(&self) -> bool {
        let head = self.s3.head_object().bucket(&self.bucket).key(&self.key);
        head.send()
            .await
            .is_err_and(|error| error.into_service_error().is_not_found())
    }
}

fn completed(number: i32, put: &UploadPartOutput) -> CompletedPart {
    CompletedPart::builder()
        .part_number(number)
        .set_e_tag(put.e_tag().map(str::to_owned))
        .set_checksum_crc64_nvme(put.checksum_crc64_nvme().map(str::to_owned))
        .build()
}

#[tokio::test]
async fn parts_in_any_order_become_the_proven_whole() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let (one, two, three) = (bytes(1, MIN), bytes(2, MIN + 7), bytes(3, 99));
    let third = upload.part(3, &three).await;
    let first = upload.part(1, &one).await;
    let second = upload.part(2, &two).await;
    assert!(upload.is_absent().await, "a key appears when it is whole");
    let whole = [one, two, three].concat();
    let done = upload
        .complete(&[&first, &second, &third])
        .checksum_crc64_nvme(crc64(&whole))
        .checksum_type(ChecksumType::FullObject)
        .mpu_object_size(whole.len() as i64)
        .send()
        .await
        .unwrap();
    assert_eq!(done.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
    assert!(done.e_tag().unwrap().ends_with("-3\""));
    let head = upload
        .s3
        .head_object()
        .bucket(&upload.bucket)
        .key(&upload.key);
    let head = head
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(head.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
    assert_eq!(head.content_length(), Some(whole.len() as i64));
    assert_eq!(head.content_type(), Some("video/mp4"));
    assert_eq!(head.metadata().unwrap()["m"], "1");
    let got = upload
        .s3
        .get_object()
        .bucket(&upload.bucket)
        .key(&upload.key);
    let got = got
        .clone()
        .send()
        .await
        .unwrap()
        .body
        .collect()
        .await
        .unwrap()
        .to_vec();
    assert!(got == whole);
    // A range over the border of two parts.
    let range = format!("bytes={}-{}", MIN - 10, MIN + 9);
    let got = upload
        .s3
        .get_object()
        .bucket(&upload.bucket)
        .key(&upload.key)
        .range(range);
    let got = got
        .send()
        .await
        .unwrap()
        .body
        .collect()
        .await
        .unwrap()
        .to_vec();
    assert_eq!(got, whole[MIN - 10..MIN + 10]);
    // The upload is over.
    assert_eq!(
        code(upload.complete(&[&first, &second, &third]).send().await),
        "NoSuchUpload"
    );
    let uploads = upload
        .s3
        .list_multipart_uploads()
        .bucket(&upload.bucket)
        .send()
        .await
        .unwrap();
    assert_eq!(uploads.uploads().len(), 0);
}

#[tokio::test]
async fn completion_fails_closed() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let (one, two) = (bytes(1, MIN), bytes(2, 10));
    let first = upload.part(1, &one).await;
    let second = upload.part(2, &two).await;
    let altered = |part: &CompletedPart, etag: Option<&str>, sum: Option<&str>| {
        CompletedPart::builder()
            .part_number(part.part_number().unwrap())
            .e_tag(etag.unwrap_or(part.e_tag().unwrap()))
            .checksum_crc64_nvme(sum.unwrap_or(part.checksum_crc64_nvme().unwrap()))
            .build()
    };
    let absent = CompletedPart::builder()
        .part_number(3)
        .e_tag("\"x\"")
        .build();
    let wrong_etag = altered(&second, Some("\"00000000000000000000000000000000\""), None);
    let wrong_sum = altered(&second, None, Some("AAAAAAAAAAA="));
    assert_eq!(
        code(upload.complete(&[&first, &wrong_etag]).send().await),
        "InvalidPart"
    );
    assert_eq!(
        code(upload.complete(&[&first, &wrong_sum]).send().await),
        "InvalidPart"
    );
    assert_eq!(
        code(upload.complete(&[&first, &second, &absent]).send().await),
        "InvalidPart"
    );
    assert_eq!(
        code(upload.complete(&[&second, &first]).send().await),
        "InvalidPartOrder"
    );
    assert_eq!(
        code(upload.complete(&[&first, &first]).send().await),
        "InvalidPartOrder"
    );
    assert_eq!(code(upload.complete(&[]).send().await), "MalformedXML");
    let both = || upload.complete(&[&first, &second]);
    let wrong_whole = both().checksum_crc64_nvme("AAAAAAAAAAA=");
    assert_eq!(code(wrong_whole.send().await), "BadDigest");
    assert_eq!(
        code(both().mpu_object_size(1).send().await),
        "InvalidRequest"
    );
    let stranger = both().upload_id("0000");
    assert_eq!(code(stranger.send().await), "NoSuchUpload");
    let elsewhere = both().key("another");
    assert_eq!(code(elsewhere.send().await), "NoSuchUpload");
    assert!(upload.is_absent().await);
    // After all that the upload still stands.
    both().send().await.unwrap();
}

#[tokio::test]
async fn a_part_that_is_too_small_or_missing_is_noticed_at_completion() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let first = upload.part(1, &bytes(1, MIN - 1)).await;
    let second = upload.part(2, &bytes(2, 10)).await;
    let both = upload.complete(&[&first, &second]);
    assert_eq!(code(both.send().await), "EntityTooSmall");
    // Left out at the start: numbers of an upload with checksums have no gaps.
    assert!(upload.complete(&[&second]).send().await.is_err());
    assert!(upload.is_absent().await);
    let first = upload.part(1, &bytes(1, MIN)).await;
    upload.complete(&[&first, &second]).send().await.unwrap();
}

#[tokio::test]
async fn a_part_sent_again_replaces_the_first() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let old = upload.part(1, b"old").await;
    let new = upload.part(1, b"new").await;
    assert_eq!(code(upload.complete(&[&old]).send().await), "InvalidPart");
    upload.complete(&[&new]).send().await.unwrap();
    let got = upload
        .s3
        .get_object()
        .bucket(&upload.bucket)
        .key(&upload.key)
        .send()
        .await
        .unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"new");
}

#[tokio::test]
async fn a_part_with_a_wrong_checksum_is_not_taken() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let part = |number| {
        let part = upload
            .s3
            .upload_part()
            .bucket(&upload.bucket)
            .key(&upload.key);
        part.upload_id(&upload.id)
            .part_number(number)
            .body(ByteStream::from_static(b"hello"))
    };
    assert_eq!(
        code(part(1).checksum_crc64_nvme("AAAAAAAAAAA=").send().await),
        "BadDigest"
    );
    let other_kind = part(1).checksum_crc32("NhCmhg==");
    assert_eq!(code(other_kind.send().await), "InvalidRequest");
    assert_eq!(code(part(0).send().await), "InvalidArgument");
    assert_eq!(code(part(10_001).send().await), "InvalidArgument");
    assert_eq!(code(part(1).upload_id("0000").send().await), "NoSuchUpload");
    let listed = upload
        .s3
        .list_parts()
        .bucket(&upload.bucket)
        .key(&upload.key)
        .upload_id(&upload.id);
    assert_eq!(listed.send().await.unwrap().parts().len(), 0);
}

#[tokio::test]
async fn parts_are_listed_in_order_and_pages() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    for number in [10, 2, 1, 7, 100] {
        upload.part(number, &bytes(1, number as usize)).await;
    }
    let list = || {
        upload
            .s3
            .list_parts()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
    };
    let mut marker = None;
    let mut numbers = Vec::new();
    loop {
        let page = list()
            .max_parts(2)
            .set_part_number_marker(marker)
            .send()
            .await
            .unwrap();
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
    assert_eq!(code(list().upload_id("0000").send().await), "NoSuchUpload");
}

#[tokio::test]
async fn an_aborted_upload_is_gone_with_its_parts() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let part = upload.part(1, b"x").await;
    let listed = upload
        .s3
        .list_multipart_uploads()
        .bucket(&upload.bucket)
        .send()
        .await
        .unwrap();
    let ids: BTreeSet<_> = listed
        .uploads()
        .iter()
        .map(|listed| listed.upload_id().unwrap())
        .collect();
    assert_eq!(ids, BTreeSet::from([upload.id.as_str()]));
    let abort = || {
        upload
            .s3
            .abort_multipart_upload()
            .bucket(&upload.bucket)
            .key(&upload.key)
    };
    abort().upload_id(&upload.id).send().await.unwrap();
    assert_eq!(
        code(abort().upload_id(&upload.id).send().await),
        "NoSuchUpload"
    );
    assert_eq!(code(upload.complete(&[&part]).send().await), "NoSuchUpload");
    upload
        .s3
        .delete_bucket()
        .bucket(&upload.bucket)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn completion_can_insist_on_being_first() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let part = upload.part(1, b"x").await;
    let put = upload
        .s3
        .put_object()
        .bucket(&upload.bucket)
        .key(&upload.key);
    put.body(ByteStream::from_static(b"first"))
        .send()
        .await
        .unwrap();
    let late = upload.complete(&[&part]).if_none_match("*");
    assert_eq!(code(late.send().await), "PreconditionFailed");
    let delete = upload
        .s3
        .delete_object()
        .bucket(&upload.bucket)
        .key(&upload.key);
    delete.send().await.unwrap();
    upload
        .complete(&[&part])
        .if_none_match("*")
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upload_by_default_ends_with_a_full_object_checksum() {
    let cloud = Cloud::start().await;
    let config = cloud
        .s3_config()
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    let s3 = Client::from_conf(config.build());
    let bucket = bucket(&s3).await;
    let created = s3
        .create_multipart_upload()
        .bucket(&bucket)
        .key("k")
        .send()
        .await
        .unwrap();
    let id = created.upload_id().unwrap();
    let part = s3
        .upload_part()
        .bucket(&bucket)
        .key("k")
        .upload_id(id)
        .part_number(1);
    let part = part
        .body(ByteStream::from_static(b"123456789"))
        .send()
        .await
        .unwrap();
    let part = CompletedPart::builder()
        .part_number(1)
        .e_tag(part.e_tag().unwrap())
        .build();
    let done = s3
        .complete_multipart_upload()
        .bucket(&bucket)
        .key("k")
        .upload_id(id);
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    done.multipart_upload(parts).send().await.unwrap();
    let head = s3
        .head_object()
        .bucket(&bucket)
        .key("k")
        .checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    assert_eq!(head.checksum_crc64_nvme(), Some("rosUhgp5mIg="));
}

#[tokio::test]
async fn composite_checksums_are_sums_of_sums_and_demanded_at_completion() {
    let cloud = Cloud::start().await;
    let s3 = cloud.s3();
    let bucket = bucket(&s3).await;
    let created = s3.create_multipart_upload().bucket(&bucket).key("k");
    let created = created
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .send()
        .await
        .unwrap();
    let id = created.upload_id().unwrap();
    // The SDK sends the sum in a trailer here.
    let part = s3
        .upload_part()
        .bucket(&bucket)
        .key("k")
        .upload_id(id)
        .part_number(1);
    let part = part
        .checksum_algorithm(ChecksumAlgorithm::Sha256)
        .body(ByteStream::from_static(b"hello"));
    let part = part.send().await.unwrap();
    assert_eq!(
        part.checksum_sha256(),
        Some("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=")
    );
    let listed = CompletedPart::builder()
        .part_number(1)
        .e_tag(part.e_tag().unwrap());
    let complete = |part: CompletedPart| {
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        s3.complete_multipart_upload()
            .bucket(&bucket)
            .key("k")
            .upload_id(id)
            .multipart_upload(parts)
    };
    assert_eq!(
        code(complete(listed.clone().build()).send().await),
        "InvalidRequest"
    );
    let listed = listed
        .checksum_sha256(part.checksum_sha256().unwrap())
        .build();
    let done = complete(listed).send().await.unwrap();
    assert_eq!(done.checksum_type(), Some(&ChecksumType::Composite));
    assert!(done.checksum_sha256().unwrap().ends_with("-1"));
}

#[tokio::test]
async fn big_parts_travel_in_parallel() {
    let cloud = Cloud::start().await;
    let upload = Upload::begin(&cloud).await;
    let contents: Vec<_> = (0..8).map(|n| bytes(n, MIN + usize::from(n))).collect();
    let parts = contents
        .iter()
        .zip(1..)
        .map(|(content, number)| upload.part(number, content));
    let parts = futures_util::future::join_all(parts).await;
    let parts: Vec<_> = parts.iter().collect();
    let whole = contents.concat();
    let done = upload
        .complete(&parts)
        .checksum_crc64_nvme(crc64(&whole))
        .send()
        .await
        .unwrap();
    assert_eq!(done.checksum_crc64_nvme(), Some(crc64(&whole).as_str()));
}
