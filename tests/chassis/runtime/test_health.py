"""Health: readiness and liveness are what the parts say of themselves."""

from services.chassis.runtime.health import Health


def test_without_probes_a_process_is_ready_and_live() -> None:
    health = Health()
    assert health.readiness() == {"serving": True}
    assert health.liveness() == {}


def test_each_probe_is_asked_each_time() -> None:
    health, answers = Health(), iter([False, True])
    health.ready_when("kafka", lambda: next(answers))
    assert health.readiness()["kafka"] is False
    assert health.readiness()["kafka"] is True


def test_who_drains_is_not_ready_but_live() -> None:
    health = Health()
    health.live_while("loop", lambda: True)
    health.draining = True
    assert health.readiness() == {"serving": False}
    assert health.liveness() == {"loop": True}


def test_a_probe_that_fails_says_no_and_hides_no_other() -> None:
    health = Health()
    health.ready_when("broken", lambda: bool(1 // 0))
    health.ready_when("kafka", lambda: True)
    assert health.readiness() == {"serving": True, "broken": False, "kafka": True}
