//! Deletion of many items.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{DeleteRequest, WriteRequest};
use reelay_runtime::AwsError;

use crate::item::Item;

/// Maximum deletes of a batch (DynamoDB).
const MAX_BATCH_DELETES: usize = 25;

/// Pause before unprocessed deletes of a batch are repeated.
const UNPROCESSED_DELAY: Duration = Duration::from_millis(100);

/// Deletes the items with these keys, which must be distinct.
pub(crate) async fn delete(client: &Client, table: &str, keys: &[Item]) -> Result<(), AwsError> {
    let call = "BatchWriteItem";
    for batch in keys.chunks(MAX_BATCH_DELETES) {
        let mut requests = batch
            .iter()
            .map(|key| {
                let delete = DeleteRequest::builder().set_key(Some(key.clone())).build();
                let delete = delete.map_err(|_| AwsError::unexpected_response(call, "no key"))?;
                Ok(WriteRequest::builder().delete_request(delete).build())
            })
            .collect::<Result<Vec<_>, AwsError>>()?;
        // DynamoDB returns throttled deletes as unprocessed items of a successful call, so the SDK does not back off.
        loop {
            let response = client.batch_write_item().request_items(table, requests).send().await;
            let response = response.map_err(|error| AwsError::from_sdk(call, &error))?;
            requests = response
                .unprocessed_items
                .and_then(|mut rest| rest.remove(table))
                .unwrap_or_default();
            if requests.is_empty() {
                break;
            }
            tokio::time::sleep(UNPROCESSED_DELAY).await;
        }
    }
    Ok(())
}
