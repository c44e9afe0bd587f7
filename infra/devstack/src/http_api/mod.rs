//! An API Gateway HTTP API: it turns requests into events of payload format 2.0 and results into responses, with
//! API Gateway's limits and its own error responses.

mod dev;
mod event;
mod in_flight;
mod reply;
mod routes;
mod serve;

pub(crate) use self::dev::DevApi;
pub(crate) use self::in_flight::InFlight;
pub(crate) use self::routes::Routes;
pub(crate) use self::serve::{HttpApi, Target, serve};
