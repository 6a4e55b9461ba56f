//! The binary from outside, as far as no hub has to run.

use std::{
    io,
    path::Path,
    process::{Command, Output},
};

fn ironhub(arguments: &[&str], home: &Path) -> io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_ironhub")).args(arguments).env_clear().env("HOME", home).output()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_teaches_by_examples() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let help = ironhub(&["--help"], home.path())?;
    let help = text(&help.stdout);
    for words in ["ironhub all --with-device demo", "ironhub device create", "ironhub events tail --follow"] {
        assert!(help.contains(words), "{help}");
    }
    Ok(())
}

#[test]
fn config_prints_what_a_file_may_hold_and_reads_it_back() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let printed = ironhub(&["config", "--listen-address", "127.0.7.9", "--mqtt-port", "18883"], home.path())?;
    let printed = text(&printed.stdout);
    assert!(printed.contains("mqtt_port = 18883") && printed.contains("127.0.7.9"), "{printed}");

    let file = home.path().join("hub.toml");
    std::fs::write(&file, &printed)?;
    let again = ironhub(&["config", "--config", &file.to_string_lossy()], home.path())?;
    assert_eq!(text(&again.stdout), printed, "{}", text(&again.stderr));
    Ok(())
}

#[test]
fn a_wrong_setting_ends_with_one_clear_message() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("hub.toml");
    std::fs::write(&file, "mqtt_port = 1\nmqtt_prot = 2\n")?;
    let refused = ironhub(&["all", "--config", &file.to_string_lossy()], home.path())?;
    assert_eq!(refused.status.code(), Some(1));
    let message = text(&refused.stderr);
    assert!(message.contains("hub.toml") && message.contains("line 2") && message.contains("mqtt_prot"), "{message}");
    Ok(())
}

#[test]
fn a_client_without_a_hub_is_told_what_to_do() -> io::Result<()> {
    let home = tempfile::tempdir()?;
    let refused = ironhub(&["device", "list"], home.path())?;
    assert_eq!(refused.status.code(), Some(1));
    let message = text(&refused.stderr);
    assert!(message.contains(".local/share/ironhub") && message.contains("ironhub all"), "{message}");
    Ok(())
}
