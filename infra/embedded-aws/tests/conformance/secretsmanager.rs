use crate::cloud::{Cloud, code, fresh};

#[tokio::test]
async fn new_version_makes_the_old_one_previous() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secretsmanager();
    let name = fresh("secret");
    let create = secrets.create_secret().name(&name).secret_string("one");
    create.send().await.unwrap();
    let get = || secrets.get_secret_value().secret_id(&name);
    let previous = || get().version_stage("AWSPREVIOUS");
    assert_eq!(get().send().await.unwrap().secret_string(), Some("one"));
    assert_eq!(code(previous().send().await), "ResourceNotFoundException");
    for (new, old) in [("two", "one"), ("three", "two")] {
        let put = secrets.put_secret_value().secret_id(&name);
        let put = put.secret_string(new).send().await.unwrap();
        assert_eq!(put.version_stages(), ["AWSCURRENT"]);
        assert_eq!(get().send().await.unwrap().secret_string(), Some(new));
        assert_eq!(previous().send().await.unwrap().secret_string(), Some(old));
    }
}

#[tokio::test]
async fn secret_is_found_by_name_and_arn() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secretsmanager();
    // The end of this name looks like the suffix of an ARN.
    let name = fresh("my") + "-secret";
    let create = |value: &str| secrets.create_secret().name(&name).secret_string(value);
    let created = create("x").send().await.unwrap();
    let get = |id: &str| secrets.get_secret_value().secret_id(id);
    for id in [name.as_str(), created.arn().unwrap()] {
        assert_eq!(get(id).send().await.unwrap().secret_string(), Some("x"));
    }
    let duplicate = create("y").send().await;
    assert_eq!(code(duplicate), "ResourceExistsException");
    let absent = get(&fresh("absent")).send().await;
    assert_eq!(code(absent), "ResourceNotFoundException");
}

#[tokio::test]
async fn retried_put_creates_one_version() {
    let cloud = Cloud::start().await;
    let secrets = cloud.secretsmanager();
    let name = fresh("secret");
    let create = secrets.create_secret().name(&name).secret_string("one");
    create.send().await.unwrap();
    let put = |value: &str| {
        let put = secrets.put_secret_value().secret_id(&name);
        let put = put.client_request_token("0123456789abcdef0123456789abcdef");
        put.secret_string(value).send()
    };
    for _ in 0..2 {
        put("two").await.unwrap();
    }
    assert_eq!(code(put("other").await), "ResourceExistsException");
    let previous = secrets.get_secret_value().secret_id(&name);
    let previous = previous.version_stage("AWSPREVIOUS").send().await;
    assert_eq!(previous.unwrap().secret_string(), Some("one"));
}
