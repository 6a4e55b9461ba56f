//! Many seeds: a process for each, as many at a time as there are processors.

use std::{
    process::{Child, Command, ExitCode, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// A run that takes longer hangs.
const TIME_MAX: Duration = Duration::from_secs(300);

/// Runs so many seeds from the first one on; the first one runs twice, and has to come to the same both times. Prints what
/// cargo's own test programs print.
pub fn run(first: u64, count: u64) -> ExitCode {
    println!("\nrunning {} tests", count + 1);
    let began = Instant::now();
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let ends_of_first = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > count {
                return;
            }
            let seed = first + number % count.max(1);
            let (is_well, output) = run_process(seed);
            let name = if number == count { format!("seed {seed} again") } else { format!("seed {seed}") };
            println!("test {name} ... {}", if is_well { "ok" } else { "FAILED" });
            if !is_well {
                failed.fetch_add(1, Ordering::Relaxed);
                println!("{output}\nreproduce with: make sim SEED={seed}");
            }
            if seed == first {
                ends_of_first.lock().push(output.lines().last().unwrap_or_default().to_owned());
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, |number| number.get());
        (0..workers).for_each(|_| drop(scope.spawn(work)));
    });
    let ends = ends_of_first.into_inner();
    if ends.iter().any(|end| Some(end) != ends.first()) {
        println!("the same seed came to different ends: {ends:#?}");
        failed.fetch_add(1, Ordering::Relaxed);
    }
    summarize(count + 1, failed.into_inner(), began.elapsed())
}

fn summarize(count: u64, failed: u64, time: Duration) -> ExitCode {
    let (verdict, passed) = (if failed == 0 { "ok" } else { "FAILED" }, count.saturating_sub(failed));
    let rest = "0 ignored; 0 measured; 0 filtered out";
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {rest}; finished in {:.2}s\n",
        time.as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the seed ran well, and what it printed.
fn run_process(seed: u64) -> (bool, String) {
    let spawned = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.env("SIM_SEED", seed.to_string()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()
    });
    let ended = spawned.and_then(|child| {
        let id = child.id();
        let over = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| end_when_late(id, &over));
            let ended = Child::wait_with_output(child);
            over.store(1, Ordering::Relaxed);
            ended
        })
    });
    match ended {
        Ok(output) => (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => (false, error.to_string()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, and no runtime near")]
fn end_when_late(process: u32, over: &AtomicU64) {
    let began = Instant::now();
    while over.load(Ordering::Relaxed) == 0 {
        if began.elapsed() > TIME_MAX {
            println!("the run of process {process} hangs");
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status(); // it may just have ended
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
