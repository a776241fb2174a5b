"""labgrid and pytest-embedded with hanlab's boards, each with the real package: `make extras`.

Both would take part in every other test here, and one brings another pyserial: they have an environment of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab_file import lab_toml

from hanlab.images import build, made_body


def test_labgrid_drives_a_lab(tmp_path: Path) -> None:
    labgrid = pytest.importorskip("labgrid", reason="make extras runs it")
    (tmp_path / "lab.toml").write_text(lab_toml(of_hub="store = 65536"))
    (tmp_path / "v6.ota").write_bytes(
        build(made_body(2048), device_type="PPMID", version="IHDAE06", for_ch="Secure").to_bytes()
    )
    (tmp_path / "env.yaml").write_text(f"""
imports: [hanlab.hil.labgrid_driver]
targets:
  main:
    drivers:
      HanlabDriver: {{lab_toml: {tmp_path}/lab.toml, folder: {tmp_path}/state}}
""")
    target = labgrid.Environment(str(tmp_path / "env.yaml")).get_target("main")
    driver = target.get_driver("HanlabDriver")
    try:
        assert driver.lab.homes[0].comms_hub.store.capacity == 65_536
        driver.update("PPMID", str(tmp_path / "v6.ota"))
        assert driver.version("PPMID") == "IHDAE06"
    finally:
        target.deactivate(driver)
    with pytest.raises(RuntimeError, match="is not active"):
        _ = driver.lab
    target.cleanup()


def test_labgrids_serial_port_is_the_chs() -> None:
    labgrid = pytest.importorskip("labgrid", reason="make extras runs it")
    from labgrid.resource import NetworkSerialPort, RawSerialPort

    from hanlab.hil.labgrid_driver import HanlabDriver, url_of

    target = labgrid.Target("main")
    for given, url in (
        ({"host": "rack", "port": 4000}, "rfc2217://rack:4000"),
        ({"host": "rack", "port": 4000, "protocol": "raw"}, "socket://rack:4000"),
    ):
        assert url_of(NetworkSerialPort(target, url, **given)) == url
    target = labgrid.Target("desk")
    RawSerialPort(target, None, port="/dev/ttyACM0")
    driver = HanlabDriver(target, "hanlab")
    made = driver._at_its_port({"comms_hub": {"board": "pico"}})
    assert made["comms_hub"] == {"board": "pico", "port": "/dev/ttyACM0"}


def test_pytest_embeddeds_dut_is_a_board(tmp_path: Path) -> None:
    pytest.importorskip("pytest_embedded", reason="make extras runs it")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["hanlab.hil.embedded"]\n')
    (tmp_path / "test_it.py").write_text("""
import pytest
def test_it(dut, comms_hub):
    image = dut.board.new_image(1024)
    dut.board.update(image)
    dut.board.activate(image)
    found = dut.expect(r"(\\d+)\\.\\d{3} boot", timeout=5)
    assert int(found.group(1)) < 10
    with pytest.raises(Exception, match="trial failed"):
        dut.expect_exact("trial failed", timeout=0.1)
""")
    done = subprocess.run(
        # labgrid's plugin has a fixture of the same name as one of pytest-embedded's
        [sys.executable, "-m", "pytest", "-p", "no:labgrid", f"--root-logdir={tmp_path}"],
        cwd=tmp_path,
        env={name: v for name, v in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
