//! Tests of [`super`] with programs every Unix has.

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_program_that_outlives_its_deadline_is_killed_and_what_it_printed_is_told() {
    let started = Instant::now();
    let error = capture(&mut shell("echo begun; sleep 60"), Duration::from_millis(300)).unwrap_err();
    assert!(started.elapsed() < SOON);
    assert!(matches!(&error, ProcessError::Deadline { output, .. } if output.contains("begun")), "{error}");
}

#[test]
fn a_killed_program_takes_its_own_children_with_it() {
    let service = Service::start(&mut shell("sleep 60 & echo $!; wait")).unwrap();
    let child: i32 = service.wait_for_line(SOON, |line| line.parse().ok()).unwrap();
    drop(service);
    let child = Pid::from_raw(child).unwrap();
    let until = Instant::now() + SOON;
    // It is init that reaps it, in its own time: until then it is a zombie that a signal still reaches.
    while std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(Instant::now() < until, "the grandchild is still alive");
        std::thread::yield_now();
    }
}

#[test]
fn a_failing_status_is_an_error_that_shows_both_outputs() {
    let error = capture_success(&mut shell("echo left; echo right >&2; exit 3"), SOON).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("left") && message.contains("right") && message.contains('3'), "{message}");
}

#[test]
fn a_service_that_ends_early_is_told_apart_from_one_that_is_slow() {
    let ended = Service::start(&mut shell("echo sorry >&2")).unwrap();
    let error = ended.wait_for_line(SOON, |_| None::<()>).unwrap_err().to_string();
    assert!(error.contains("ended") && error.contains("sorry"), "{error}");

    let slow = Service::start(&mut shell("sleep 60")).unwrap();
    let error = slow.wait_for_line(Duration::from_millis(50), |_| None::<()>).unwrap_err().to_string();
    assert!(error.contains("took too long"), "{error}");
}

#[test]
fn a_service_is_asked_to_end_before_it_is_killed() {
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let service = Service::start(&mut shell(script)).unwrap();
    service.wait_for_line(SOON, |line| (line == "ready").then_some(())).unwrap();
    let finished = service.terminate(SOON).unwrap();
    assert!(finished.status.success());
    assert_eq!(finished.stdout, "ready\nbye\n");
}
