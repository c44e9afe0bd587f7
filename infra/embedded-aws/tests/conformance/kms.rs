use aws_sdk_kms::{
    Client,
    operation::{
        decrypt::builders::DecryptFluentBuilder, generate_data_key::GenerateDataKeyOutput,
    },
    primitives::Blob,
    types::{DataKeySpec, KeyState},
};

use crate::cloud::{Cloud, code};

async fn key(kms: &Client) -> String {
    let created = kms.create_key().description("tokens").send().await.unwrap();
    created.key_metadata.unwrap().key_id
}

async fn data_key(kms: &Client, key: &str, context: &[(&str, &str)]) -> GenerateDataKeyOutput {
    let mut generate = kms.generate_data_key().key_id(key);
    for (name, value) in context {
        generate = generate.encryption_context(*name, *value);
    }
    let generated = generate.key_spec(DataKeySpec::Aes256).send().await;
    generated.unwrap()
}

fn decrypt(kms: &Client, blob: &Blob, context: &[(&str, &str)]) -> DecryptFluentBuilder {
    let mut decrypt = kms.decrypt().ciphertext_blob(blob.clone());
    for (name, value) in context {
        decrypt = decrypt.encryption_context(*name, *value);
    }
    decrypt
}

#[tokio::test]
async fn ciphertext_decrypts_with_its_context_only() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let generated = data_key(&kms, &key, &[("a", "bc"), ("purpose", "x")]).await;
    let blob = generated.ciphertext_blob().unwrap();
    assert_eq!(generated.plaintext().unwrap().as_ref().len(), 32);
    let key_arn = generated.key_id().unwrap();
    assert!(key_arn.ends_with(&format!(":key/{key}")), "{key_arn}");
    for reference in [key.as_str(), key_arn] {
        let decrypt = decrypt(&kms, blob, &[("purpose", "x"), ("a", "bc")]);
        let decrypted = decrypt.key_id(reference).send().await.unwrap();
        assert_eq!(decrypted.plaintext(), generated.plaintext());
        assert_eq!(decrypted.key_id(), Some(key_arn));
    }
    for context in [
        [].as_slice(),
        &[("a", "bc")],
        &[("a", "bc"), ("purpose", "y")],
        // The same bytes when concatenated.
        &[("ab", "c"), ("purpose", "x")],
        &[("a", "bcpurpose"), ("x", "")],
    ] {
        let decrypted = decrypt(&kms, blob, context).send().await;
        assert_eq!(code(decrypted), "InvalidCiphertextException", "{context:?}");
    }
}

#[tokio::test]
async fn tampered_ciphertext_is_rejected() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let generated = data_key(&kms, &key, &[]).await;
    let blob = generated.ciphertext_blob.unwrap().into_inner();
    for position in [0, 1, blob.len() / 2, blob.len() - 1] {
        let mut tampered = blob.clone();
        tampered[position] ^= 1;
        let decrypted = decrypt(&kms, &Blob::new(tampered), &[]).send().await;
        assert_eq!(code(decrypted), "InvalidCiphertextException", "{position}");
    }
}

#[tokio::test]
async fn ciphertext_of_another_key_is_rejected() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let (key, other) = (key(&kms).await, key(&kms).await);
    let generated = data_key(&kms, &key, &[]).await;
    let decrypt = |key: &str| decrypt(&kms, generated.ciphertext_blob().unwrap(), &[]).key_id(key);
    assert_eq!(code(decrypt(&other).send().await), "IncorrectKeyException");
    let absent = "00000000-0000-0000-0000-000000000000";
    assert_eq!(code(decrypt(absent).send().await), "NotFoundException");
    decrypt(&key).send().await.unwrap();
}

#[tokio::test]
async fn data_key_sizes_are_checked() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let generate = || kms.generate_data_key().key_id(&key);
    for (call, size) in
        [(generate().key_spec(DataKeySpec::Aes128), 16), (generate().number_of_bytes(1024), 1024)]
    {
        let plaintext = call.send().await.unwrap().plaintext.unwrap();
        assert_eq!(plaintext.as_ref().len(), size);
    }
    for call in [generate(), generate().number_of_bytes(1025)] {
        assert_eq!(code(call.send().await), "ValidationException");
    }
}

#[tokio::test]
async fn key_is_described_by_id_and_arn() {
    let cloud = Cloud::start().await;
    let kms = cloud.kms();
    let key = key(&kms).await;
    let describe = |reference: &str| kms.describe_key().key_id(reference).send();
    let described = describe(&key).await.unwrap().key_metadata.unwrap();
    assert_eq!(described.key_state(), Some(&KeyState::Enabled));
    assert_eq!(described.description(), Some("tokens"));
    let by_arn = describe(described.arn().unwrap()).await.unwrap();
    assert_eq!(by_arn.key_metadata.unwrap().key_id(), key);
    assert_eq!(code(describe("absent").await), "NotFoundException");
}
