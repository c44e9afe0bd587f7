use aws_sdk_kms::{
    Client,
    primitives::Blob,
    types::{DataKeySpec, KeyState},
};

use crate::cloud::{Cloud, code, fresh};

async fn key(kms: &Client) -> String {
    let created = kms.create_key().description("tokens").send().await.unwrap();
    created.key_metadata.unwrap().key_id
}

#[tokio::test]
async fn a_ciphertext_opens_with_its_context_only() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let sealed = kms
        .encrypt()
        .key_id(&key)
        .plaintext(Blob::new("secret"))
        .encryption_context("zoom_user", "a#b")
        .encryption_context("purpose", "access")
        .send()
        .await
        .unwrap();
    assert!(sealed.key_id().unwrap().ends_with(&format!(":key/{key}")));
    let blob = sealed.ciphertext_blob.unwrap();
    let open = |blob: Blob| kms.decrypt().ciphertext_blob(blob);
    let opened = open(blob.clone())
        .encryption_context("purpose", "access")
        .encryption_context("zoom_user", "a#b")
        .send()
        .await
        .unwrap();
    assert_eq!(opened.plaintext().unwrap().as_ref(), b"secret");
    let refused = open(blob.clone()).encryption_context("zoom_user", "a#b");
    assert_eq!(code(refused.send().await), "InvalidCiphertextException");
    assert_eq!(
        code(open(blob.clone()).send().await),
        "InvalidCiphertextException"
    );
    let mut tampered = blob.into_inner();
    *tampered.last_mut().unwrap() ^= 1;
    let tampered = open(Blob::new(tampered))
        .encryption_context("purpose", "access")
        .encryption_context("zoom_user", "a#b");
    assert_eq!(code(tampered.send().await), "InvalidCiphertextException");
}

#[tokio::test]
async fn a_data_key_comes_in_clear_and_sealed() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let made = kms
        .generate_data_key()
        .key_id(&key)
        .key_spec(DataKeySpec::Aes256);
    let made = made.encryption_context("u", "1").send().await.unwrap();
    let plaintext = made.plaintext.unwrap();
    assert_eq!(plaintext.as_ref().len(), 32);
    let open = || {
        kms.decrypt()
            .ciphertext_blob(made.ciphertext_blob.clone().unwrap())
    };
    let opened = open()
        .key_id(&key)
        .encryption_context("u", "1")
        .send()
        .await
        .unwrap();
    assert_eq!(opened.plaintext.unwrap(), plaintext);
    let other = open().encryption_context("u", "2");
    assert_eq!(code(other.send().await), "InvalidCiphertextException");
}

#[tokio::test]
async fn a_key_is_found_by_alias_and_arn() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let alias = fresh("alias/tokens");
    kms.create_alias()
        .alias_name(&alias)
        .target_key_id(&key)
        .send()
        .await
        .unwrap();
    let again = kms.create_alias().alias_name(&alias).target_key_id(&key);
    assert_eq!(code(again.send().await), "AlreadyExistsException");
    let described = kms
        .describe_key()
        .key_id(&alias)
        .send()
        .await
        .unwrap()
        .key_metadata
        .unwrap();
    assert_eq!(described.key_id(), key);
    assert_eq!(described.key_state(), Some(&KeyState::Enabled));
    let by_arn = kms
        .describe_key()
        .key_id(described.arn().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(by_arn.key_metadata.unwrap().key_id(), key);
    let listed = kms.list_aliases().key_id(&key).send().await.unwrap();
    assert_eq!(listed.aliases()[0].alias_name(), Some(alias.as_str()));
    let none = kms.describe_key().key_id("alias/none");
    assert_eq!(code(none.send().await), "NotFoundException");
}

#[tokio::test]
async fn the_wrong_key_and_a_disabled_key_open_nothing() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let (one, two) = (key(&kms).await, key(&kms).await);
    let sealed = kms
        .encrypt()
        .key_id(&one)
        .plaintext(Blob::new("x"))
        .send()
        .await
        .unwrap();
    let open = || {
        kms.decrypt()
            .ciphertext_blob(sealed.ciphertext_blob.clone().unwrap())
    };
    assert_eq!(
        code(open().key_id(&two).send().await),
        "IncorrectKeyException"
    );
    kms.disable_key().key_id(&one).send().await.unwrap();
    assert_eq!(code(open().send().await), "DisabledException");
    kms.enable_key().key_id(&one).send().await.unwrap();
    open().send().await.unwrap();
    kms.schedule_key_deletion()
        .key_id(&one)
        .pending_window_in_days(7)
        .send()
        .await
        .unwrap();
    assert_eq!(code(open().send().await), "KMSInvalidStateException");
}

#[tokio::test]
async fn a_plaintext_that_needs_an_envelope_is_refused() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let big = kms
        .encrypt()
        .key_id(&key)
        .plaintext(Blob::new(vec![0; 4097]));
    assert_eq!(code(big.send().await), "ValidationException");
}

#[tokio::test]
async fn a_ciphertext_moves_to_another_key() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let (one, two) = (key(&kms).await, key(&kms).await);
    let sealed = kms
        .encrypt()
        .key_id(&one)
        .plaintext(Blob::new("x"))
        .send()
        .await
        .unwrap();
    let moved = kms
        .re_encrypt()
        .ciphertext_blob(sealed.ciphertext_blob.unwrap());
    let moved = moved.destination_key_id(&two).send().await.unwrap();
    let opened = kms
        .decrypt()
        .key_id(&two)
        .ciphertext_blob(moved.ciphertext_blob.unwrap());
    assert_eq!(
        opened.send().await.unwrap().plaintext().unwrap().as_ref(),
        b"x"
    );
}
