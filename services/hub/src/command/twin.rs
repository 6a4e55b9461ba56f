//! `ironhub twin ...`

use hyper::{Method, StatusCode};
use model::{DeviceId, ModuleId};
use serde_json::{Map, Value, json};

use super::{
    api_client::{ApiClient, Call, Refused},
    output::Output,
    target::Target,
};
use crate::{
    arguments::{TargetArguments, TwinCommand, TwinWrite},
    configuration::Environment,
};

/// Runs one command against the hub that the arguments name.
pub async fn run(arguments: TargetArguments, command: TwinCommand, environment: &Environment) -> anyhow::Result<()> {
    let client = ApiClient::new(Target::find(&arguments, environment)?)?;
    let twin = match command {
        TwinCommand::Show(twin) => client.call(Call::new(Method::GET, &path(&twin.id, twin.module.as_ref()))).await?,
        TwinCommand::Update(write) => self::write(&client, Method::PATCH, &write).await?,
        TwinCommand::Replace(write) => self::write(&client, Method::PUT, &write).await?,
    };
    Output::of_json(twin).print(arguments.json);
    Ok(())
}

/// The path of a twin.
pub fn path<'a>(id: &'a DeviceId, module: Option<&'a ModuleId>) -> Vec<&'a str> {
    let mut path = vec!["twins", id.as_str()];
    path.extend(module.into_iter().flat_map(|module| ["modules", module.as_str()]));
    path
}

async fn write(client: &ApiClient, method: Method, write: &TwinWrite) -> anyhow::Result<Value> {
    let path = path(&write.twin.id, write.twin.module.as_ref());
    let call = Call { if_match: write.etag.as_deref(), body: Some(body(write)), ..Call::new(method, &path) };
    client.call(call).await.map_err(|error| match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status == StatusCode::PRECONDITION_FAILED => {
            error.context("the twin was written since that version was read; `ironhub twin show` has the newest")
        }
        _ => error,
    })
}

fn body(write: &TwinWrite) -> Value {
    let mut body = Map::new();
    if let Some(tags) = &write.tags {
        body.insert("tags".into(), tags.clone());
    }
    if let Some(desired) = &write.desired {
        body.insert("properties".into(), json!({ "desired": desired }));
    }
    Value::Object(body)
}
