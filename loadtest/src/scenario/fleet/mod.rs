//! A fleet: many devices and some back ends do everything at once, for minutes.
//!
//! ```text
//!   devices (device -> connection -> routine)  ---\
//!                                                  >--- shared: recorder (counts, latencies, errors), accounts, messages
//!   back ends (methods, messages, desired)     ---/                      |
//!   event log (reads telemetry back)  -------------------- progress, then fleet_report
//! ```

mod activity;
mod back_end;
mod back_off;
mod clock;
mod connection;
mod device;
mod event_log;
mod incoming;
mod message_book;
pub mod operation;
mod outcome;
mod recorder;
mod routine;
mod service_time;
mod shared;
mod telemetry_check;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::sleep,
};

use self::{clock::Clock, device::Device, event_log::EventLog, shared::Fleet};
use crate::{
    arguments::FleetArguments, console, devices::Devices, fleet_report::FleetReport, server_process::ServerProcess,
    target::Target, tls::Connector,
};

/// How long the last devices may take to be served after the ramp-up's time; then the steady phase begins without them.
const RAMP_UP_GRACE: Duration = Duration::from_secs(60);
/// How long what was begun may take to come to its end. Longer than the hub waits for a device that has a message in hand.
const SETTLE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);

/// Runs the scenario. A run that is told to end deletes its devices, too.
pub async fn run(target: &Target, options: &FleetArguments) -> anyhow::Result<FleetReport> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let devices = devices(target, options).await?;
    let connector =
        Connector::new(&target.mqtt, &target.host_name, &target.certificate_authority_file, options.resume)?;
    let fleet = Rc::new(Fleet::new(options, devices.clone(), connector));
    let report = tokio::select! {
        report = drive(target, &fleet) => report,
        _ = interrupt.recv() => Err(anyhow!("the run was interrupted")),
        _ = terminate.recv() => Err(anyhow!("the run was told to end")),
    };
    if options.devices_file.is_none()
        && let Err(error) = devices.delete(target).await
    {
        console::progress(&format!("{error:#}"));
    }
    report
}

async fn devices(target: &Target, options: &FleetArguments) -> anyhow::Result<Devices> {
    let file = options.devices_file.as_deref();
    if let Some(devices) = file.map(|file| Devices::load(target, file)).transpose()?.flatten() {
        ensure!(devices.count() >= options.devices, "the file names {} devices only", devices.count());
        return Ok(devices);
    }
    let devices = Devices::create(target, options.devices).await?;
    if let Some(file) = file {
        devices.save(file)?;
    }
    Ok(devices)
}

/// Ramp-up, steady phase, end.
async fn drive(target: &Target, fleet: &Rc<Fleet>) -> anyhow::Result<FleetReport> {
    let event_log = match fleet.options.verify {
        true => Some(EventLog::open(target, fleet.run, fleet.options.devices).await?),
        false => None,
    };
    let mut tasks = Tasks::default();
    if let Some(event_log) = &event_log {
        tasks.0.push(tokio::task::spawn_local(event_log.clone().follow(target.clone())));
    }
    let clock = Rc::new(Clock::start(fleet.clone()));
    tasks.0.push(tokio::task::spawn_local(clock.clone().run()));
    ramp_up(fleet, &mut tasks).await;
    clock.begin_steady();
    let cpu = ServerProcess::this().cpu_time()?;
    tasks.0.extend(back_end::start(target, fleet)?);
    sleep(fleet.options.steady()).await;
    let cpu = ServerProcess::this().cpu_time()? - cpu;
    clock.end_steady();
    fleet.finish();
    settle(fleet, event_log.as_deref()).await;
    Ok(outcome::report(fleet, &clock, event_log.as_deref(), cpu))
}

/// Tasks that end with this value.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Lets the devices connect one after the other, and waits until all are served.
async fn ramp_up(fleet: &Rc<Fleet>, tasks: &mut Tasks) {
    let (begin, count) = (Instant::now(), fleet.options.devices);
    for index in 0..count {
        let due = begin + fleet.options.ramp_up().mul_f64(f64::from(index) / f64::from(count));
        tokio::time::sleep_until(due.into()).await;
        tasks.0.push(tokio::task::spawn_local(Device::new(fleet, index).run()));
    }
    let deadline = Instant::now() + RAMP_UP_GRACE;
    while fleet.count(|account| !account.service.was_served()) > 0 && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}

/// Waits until everything is answered and found, but not for ever.
async fn settle(fleet: &Fleet, event_log: Option<&EventLog>) {
    let deadline = Instant::now() + SETTLE;
    let is_read = || event_log.is_none_or(|event_log| outcome::found_telemetry(fleet, event_log).missing == 0);
    while !(fleet.is_settled() && is_read()) && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}
