//! Back ends: invoke methods, send messages, write desired properties, each evenly over time, over HTTPS.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::{
    task::JoinHandle,
    time::{sleep_until, timeout},
};

use super::{operation::Operation, shared::Fleet};
use crate::{
    devices::{API_VERSION, https_connector, service_token},
    http::{HttpConnection, Request},
    target::Target,
    tls::Connector,
};

/// When a call is given up; longer than a method may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
const METHOD_SECONDS: u32 = 30;
/// After a call that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts all of them; they work until the fleet finishes.
pub fn start(target: &Target, fleet: &Rc<Fleet>) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let options = &fleet.options;
    let mut tasks = Vec::new();
    for (operation, per_second) in [
        (Operation::Method, options.methods_per_second),
        (Operation::Message, options.messages_per_second),
        (Operation::DesiredWrite, options.desired_per_second),
    ] {
        let pace = Rc::new(Pace::new(per_second));
        for index in (0..options.back_ends).take_while(|_| per_second > 0) {
            let back_end = BackEnd {
                fleet: fleet.clone(),
                operation,
                pace: pace.clone(),
                index,
                connector: https_connector(target)?,
                host: target.host_name.clone(),
                token: service_token(target),
                connection: None,
            };
            tasks.push(tokio::task::spawn_local(back_end.run()));
        }
    }
    Ok(tasks)
}

/// Shares the moments of calls out.
struct Pace {
    period: Duration,
    next: Cell<Instant>,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        Self { period: Duration::from_secs(1) / per_second.max(1), next: Instant::now().into() }
    }

    /// When the next call is due. What could not be done in time is not made up for.
    fn take(&self) -> Instant {
        let due = self.next.get().max(Instant::now());
        self.next.set(due + self.period);
        due
    }
}

struct BackEnd {
    fleet: Rc<Fleet>,
    operation: Operation,
    pace: Rc<Pace>,
    index: u32,
    connector: Connector,
    host: String,
    token: String,
    connection: Option<HttpConnection>,
}

/// What is sent.
struct Call {
    method: &'static str,
    path: String,
    body: String,
}

/// The answer to a method, as far as the device made it.
#[derive(Deserialize)]
struct MethodAnswer {
    status: i32,
    payload: serde_json::Value,
}

#[derive(Deserialize)]
struct Twin {
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    desired: Desired,
}

#[derive(Deserialize)]
struct Desired {
    #[serde(rename = "$version")]
    version: u64,
}

impl BackEnd {
    async fn run(mut self) {
        let mut number = 0_u64;
        while !self.fleet.is_finishing() {
            sleep_until(self.pace.take().into()).await;
            if self.fleet.is_finishing() {
                return;
            }
            number += 1;
            let device = fastrand::u32(..self.fleet.options.devices);
            let done = timeout(CALL_TIMEOUT, self.call(device, number)).await;
            let done = done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", CALL_TIMEOUT.as_secs())));
            if let Err(error) = done {
                self.fleet.recorder.failed(self.operation, format!("{error:#}"));
                self.connection = None;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn call(&mut self, device: u32, number: u64) -> anyhow::Result<()> {
        match self.operation {
            Operation::Method => self.invoke_method(device, number).await,
            Operation::Message => self.send_message(device).await,
            _ => self.write_desired(device, number).await,
        }
    }

    /// The device gives the payload back.
    async fn invoke_method(&mut self, device: u32, number: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        let payload = serde_json::json!({ "run": self.fleet.run, "backEnd": self.index, "number": number });
        let path = format!("/twins/{}/methods", self.fleet.devices.id(device));
        let body = format!(
            r#"{{"methodName":"echo","payload":{payload},"responseTimeoutInSeconds":{METHOD_SECONDS},"connectTimeoutInSeconds":0}}"#
        );
        let answer = self.send(&Call { method: "POST", path, body }, 200).await?;
        let answer: MethodAnswer = serde_json::from_slice(&answer)?;
        anyhow::ensure!(answer.status == 200 && answer.payload == payload, "the answer is of another call");
        self.fleet.recorder.done(Operation::Method, began.elapsed());
        Ok(())
    }

    /// It is done once the device has it.
    async fn send_message(&mut self, device: u32) -> anyhow::Result<()> {
        let number = self.fleet.messages.borrow_mut().begin(device, Instant::now());
        let Some(number) = number else { anyhow::bail!("too many messages have not arrived: not sent") };
        let path = format!("/devices/{}/messages/devicebound", self.fleet.devices.id(device));
        let sent = self.send(&Call { method: "POST", path, body: self.fleet.body_of(number) }, 204).await;
        let mut messages = self.fleet.messages.borrow_mut();
        match sent {
            Ok(_) => messages.acknowledged(number),
            Err(_) => messages.failed(number),
        }
        sent.map(drop)
    }

    /// Another value each time.
    async fn write_desired(&mut self, device: u32, number: u64) -> anyhow::Result<()> {
        let began = Instant::now();
        let value = format!("{}-{}-{number}", self.fleet.run, self.index);
        let body = format!(r#"{{"properties":{{"desired":{{"setpoint":"{value}"}}}}}}"#);
        let path = format!("/twins/{}", self.fleet.devices.id(device));
        let answer = self.send(&Call { method: "PATCH", path, body }, 200).await?;
        let written = serde_json::from_slice::<Twin>(&answer)?.properties.desired.version;
        self.fleet.account(device, |account| account.desired_written = account.desired_written.max(written));
        self.fleet.recorder.done(Operation::DesiredWrite, began.elapsed());
        Ok(())
    }

    /// Sends the request and reads the answer. As HTTP clients do, a request that fails on a connection that was used
    /// before is sent again on a new one: the server may have closed it meanwhile.
    async fn send(&mut self, call: &Call, success: u16) -> anyhow::Result<Vec<u8>> {
        let target = format!("{}?api-version={API_VERSION}", call.path);
        let request = Request {
            method: call.method,
            target: &target,
            host: &self.host,
            token: &self.token,
            headers: "Content-Type: application/json\r\n",
            body: call.body.as_bytes(),
        };
        let request = request.encode();
        let answered = match &mut self.connection {
            Some(connection) => connection.send(&request).await.ok(),
            None => None,
        };
        let (status, answer) = match answered {
            Some(answered) => answered,
            None => {
                self.index = self.index.wrapping_add(1); // another way
                let stream = self.connector.connect(self.index).await?;
                self.connection.insert(HttpConnection::new(stream)).send(&request).await?
            }
        };
        if status != success {
            // Without the tracking id, which would make every error a kind of its own.
            let text = String::from_utf8_lossy(&answer);
            let code = text.split("ErrorCode:").nth(1).and_then(|rest| rest.split([';', '"']).next());
            anyhow::bail!("the hub answered {status} {}", code.unwrap_or_default());
        }
        Ok(answer)
    }
}
