use crate::cloud::{Cloud, code, fresh};

#[tokio::test]
async fn a_new_version_makes_the_old_one_previous() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secretsmanager();
    let name = fresh("secret");
    secrets
        .create_secret()
        .name(&name)
        .secret_string("one")
        .send()
        .await
        .unwrap();
    let get = || secrets.get_secret_value().secret_id(&name);
    let previous = || get().version_stage("AWSPREVIOUS");
    assert_eq!(get().send().await.unwrap().secret_string(), Some("one"));
    assert_eq!(code(previous().send().await), "ResourceNotFoundException");

    let put = secrets
        .put_secret_value()
        .secret_id(&name)
        .secret_string("two")
        .send()
        .await
        .unwrap();
    assert_eq!(put.version_stages(), ["AWSCURRENT"]);
    assert_eq!(get().send().await.unwrap().secret_string(), Some("two"));
    assert_eq!(
        previous().send().await.unwrap().secret_string(),
        Some("one")
    );
    secrets
        .put_secret_value()
        .secret_id(&name)
        .secret_string("three")
        .send()
        .await
        .unwrap();
    assert_eq!(
        previous().send().await.unwrap().secret_string(),
        Some("two")
    );
}

#[tokio::test]
async fn a_secret_is_found_by_its_arn_and_missed_when_absent() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secretsmanager();
    // A name whose end looks like the suffix of an ARN.
    let name = fresh("my") + "-secret";
    let created = secrets
        .create_secret()
        .name(&name)
        .secret_string("x")
        .send()
        .await
        .unwrap();
    let by_arn = secrets.get_secret_value().secret_id(created.arn().unwrap());
    assert_eq!(by_arn.send().await.unwrap().secret_string(), Some("x"));
    let again = secrets.create_secret().name(&name).secret_string("y");
    assert_eq!(code(again.send().await), "ResourceExistsException");
    let absent = secrets.get_secret_value().secret_id(fresh("absent"));
    assert_eq!(code(absent.send().await), "ResourceNotFoundException");
}

#[tokio::test]
async fn a_version_put_twice_with_one_token_is_one() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secretsmanager();
    let name = fresh("secret");
    secrets
        .create_secret()
        .name(&name)
        .secret_string("one")
        .send()
        .await
        .unwrap();
    let token = "0123456789abcdef0123456789abcdef";
    let put = || {
        secrets
            .put_secret_value()
            .secret_id(&name)
            .client_request_token(token)
    };
    for _ in 0..2 {
        put().secret_string("two").send().await.unwrap();
    }
    assert_eq!(
        code(put().secret_string("other").send().await),
        "ResourceExistsException"
    );
    let previous = secrets
        .get_secret_value()
        .secret_id(&name)
        .version_stage("AWSPREVIOUS");
    assert_eq!(previous.send().await.unwrap().secret_string(), Some("one"));
}
