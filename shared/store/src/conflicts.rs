//! Writes of single items that meet a transaction.
//!
//! DynamoDB rejects a PutItem, UpdateItem or DeleteItem with `TransactionConflictException` while a transaction
//! on the item is in flight (API reference, "TransactWriteItems"). The SDK does not retry it by itself.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use reelay_runtime::environment::Environment;

/// A DynamoDB client that retries conflicts with transactions as it retries throttling.
pub(crate) fn client(environment: &Environment) -> Client {
    let config = environment.dynamodb().config().to_builder();
    Client::from_conf(config.retry_classifier(TransactionConflicts).build())
}

#[derive(Debug)]
struct TransactionConflicts;

impl ClassifyRetry for TransactionConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failed = context.output_or_error().and_then(Result::err);
        let error = failed.and_then(OrchestratorError::as_operation_error);
        let is_conflict = error.is_some_and(|error| {
            matches!(error.downcast_ref(), Some(PutItemError::TransactionConflictException(_)))
                || matches!(
                    error.downcast_ref(),
                    Some(UpdateItemError::TransactionConflictException(_))
                )
                || matches!(
                    error.downcast_ref(),
                    Some(DeleteItemError::TransactionConflictException(_))
                )
        });
        if is_conflict { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts"
    }
}
