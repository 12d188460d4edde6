"""A real SLURM on this machine for the time of a test: controller, accounting, two CPU nodes, one node with two GPUs.

Needs root, since munge and the nodes' daemons do. Loopback only, no systemd, no cgroups. The GPUs are clones of
/dev/null: SLURM counts them and hands them out, nothing can be computed on them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
}
# SLURM's clients find their configuration only here: the executor's inner step drops SLURM_CONF.
ETC = Path("/etc/slurm")
ACCOUNT = "promet-test"
FIELDS = ("JobIDRaw", "State", "AllocTRES", "ReqMem", "TimelimitRaw", "NCPUS", "Partition", "NodeList")
FIELDS += ("Start", "End", "Account", "Comment")

CONFIGURATION = """
ClusterName=promettest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SrunPortRange=16900-17400
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/node.%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
EnforcePartLimits=ALL
SlurmdParameters=config_overrides
# No cgroups: a sample every second, and the end of a job that holds more than it asked for.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=300
KillWait=5
JobRequeue=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations,limits,qos
GresTypes=gpu
NodeName=cpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port=16820 CPUs=4 RealMemory=64000
NodeName=cpu2 NodeHostname={host} NodeAddr=127.0.0.1 Port=16821 CPUs=4 RealMemory=64000
NodeName=gpu1 NodeHostname={host} NodeAddr=127.0.0.1 Port=16822 CPUs=8 RealMemory=64000 Gres=gpu:2
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=1440 DefaultTime=10 PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=gpu1 MaxTime=1440 DefaultTime=10 PriorityTier=10 PreemptMode=REQUEUE
PartitionName=urgent Nodes=gpu1 MaxTime=1440 DefaultTime=10 PriorityTier=100 PreemptMode=OFF
"""
ACCOUNTING = """
AuthType=auth/munge
CommunicationParameters=NoInAddrAny
DbdAddr=127.0.0.1
DbdHost=localhost
DbdPort=16819
SlurmUser=root
PidFile={state}/slurmdbd.pid
LogFile={state}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=promet_test
"""
GPUS = "AutoDetect=off\nNodeName=gpu1 Name=gpu File={state}/gpus/nvidia[0-1]\n"


def install() -> str:
    """Install the missing packages; why there can be no cluster here, or nothing."""
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if os.geteuid() != 0:
        return "a SLURM of one's own needs root"
    if any((ETC / name).exists() for name in ("slurm.conf", "slurmdbd.conf")):
        return f"{ETC} holds the configuration of a SLURM already; it is left alone"
    if not missing:
        return ""
    if not shutil.which("apt-get"):
        return f"{', '.join(missing)} not installed, and no apt-get here"
    get = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "text": True}
    subprocess.run([*get, "update"], check=False, **quiet)
    done = subprocess.run([*get, "install", "-y", "--no-install-recommends", *missing], check=False, **quiet)
    return f"apt-get could not install {', '.join(missing)}: {done.stderr[-300:]}" if done.returncode else ""


def call(*words: str | Path) -> str:
    """Output of a command; an error when it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stdout[-500:]}{done.stderr[-2000:]}")
    return done.stdout


def wait(what: str, condition: Callable[[], object], seconds: float = 60, step: float = 0.2) -> object:
    """The condition's first true value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(step)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


def works(*words: str | Path) -> bool:
    return subprocess.run([str(word) for word in words], capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Job:
    """One line of the accounting: a job, or one life of a job that was requeued."""

    id: str
    state: str
    gpus: int
    memory: str
    minutes: int
    cpus: int
    partition: str
    node: str
    start: str
    end: str
    account: str
    comment: str


class Cluster:
    """Start with ``with Cluster() as cluster``; the end stops all of it, also after a failure."""

    def __init__(self) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="promet-slurm-"))
        self.state.chmod(0o755)
        self.links: list[Path] = []

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        (self.state / "gpus").mkdir()
        (self.state / "ctld").mkdir()
        for number in (0, 1):
            os.mknod(self.state / f"gpus/nvidia{number}", 0o20666, os.makedev(1, 3))
        for name, text in (
            ("slurm.conf", CONFIGURATION),
            ("slurmdbd.conf", ACCOUNTING),
            ("gres.conf", GPUS),
        ):
            path = self.state / name
            path.write_text(text.format(state=self.state, host=socket.gethostname().split(".")[0]))
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
            self._link(ETC / name, path)
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        for node in ("cpu1", "cpu2", "gpu1"):
            self.start_node(node)
        wait("nodes", lambda: set(call("sinfo", "-h", "-N", "-o", "%t").split()) == {"idle"}, 60)

    def _link(self, link: Path, target: Path) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        self.links.append(link)

    def _start_munge(self) -> None:
        if works("munge", "-n"):
            return
        call("install", "-d", "-o", "munge", "-g", "munge", "/run/munge")
        if not Path("/etc/munge/munge.key").exists():
            call("runuser", "-u", "munge", "--", "mungekey", "--create")
        call("runuser", "-u", "munge", "--", "munged")
        (self.state / "munged.pid").symlink_to("/run/munge/munged.pid")
        wait("munge", lambda: works("munge", "-n"), 20)

    def _start_accounting(self) -> None:
        data, run = self.state / "data", self.state / "mysqld"
        call("install", "-d", "-o", "mysql", "-g", "mysql", data, run)
        options = ["--no-defaults", "--user=mysql", f"--datadir={data}"]
        root = "--auth-root-authentication-method=socket"
        call("mariadb-install-db", *options, root, "--skip-test-db")
        socketfile = run / "mysqld.sock"
        options += ["--skip-networking", f"--socket={socketfile}", f"--pid-file={run}/mysqld.pid"]
        options += [f"--log-error={run}/mysqld.log", "--innodb-buffer-pool-size=64M", "--skip-log-bin"]
        options += ["--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"]
        subprocess.Popen(
            ["mariadbd", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ping = ("mariadb-admin", "--no-defaults", f"--socket={socketfile}", "ping")
        wait("database", lambda: works(*ping), 60)
        self._link(Path("/run/mysqld/mysqld.sock"), socketfile)
        call("slurmdbd")
        wait("slurmdbd", lambda: works("sacctmgr", "-n", "list", "cluster"), 60)
        for words in (
            ("cluster", "promettest"),
            ("account", ACCOUNT, "Description=test", "Organization=test"),
            ("user", "root", f"Account={ACCOUNT}"),
        ):
            call("sacctmgr", "-i", "add", *words)

    def start_controller(self) -> None:
        call("slurmctld", "-i")
        wait("controller", lambda: works("scontrol", "ping"), 30)

    def stop_controller(self) -> None:
        self._kill(self.state / "slurmctld.pid", signal.SIGTERM)

    def start_node(self, name: str) -> None:
        """Start a node's daemon."""
        (self.state / f"node.{name}").mkdir(exist_ok=True)
        call("slurmd", "-N", name)

    def kill_node(self, name: str) -> None:
        """What a power cut does: the daemon and everything that runs on the node are gone at once."""
        held = {int((self.state / f"slurmd.{name}.pid").read_text())}
        found = held
        while (
            found
        ):  # held first, the daemon starts no more; a job that has just begun shows at the next look
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)  # so that none can tell of another's end
            found = self._processes(name) - held
            held |= found
        for pid in held:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        call("scontrol", "update", f"nodename={name}", "state=down", "reason=power")

    @staticmethod
    def _processes(node: str) -> set[int]:
        """The jobs' watchers and what they watch over, on a node."""
        jobs = call("squeue", "-h", "-w", node, "-t", "all", "-o", "%i").split()
        watchers = tuple(f"slurmstepd: [{job}.".encode() for job in jobs)
        mark = f"SLURMD_NODENAME={node}".encode()
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                watches = (process / "cmdline").read_bytes().startswith(watchers)
                if watches or mark in (process / "environ").read_bytes().split(b"\0"):
                    found.add(int(process.name))
        return found

    def stop(self) -> None:
        """Stop every daemon that was started and remove what they left."""
        if works("scontrol", "ping"):
            works("scancel", "--user=root")
            wait("end of jobs", lambda: not call("squeue", "-h"), 30)
        pids = [*self.state.glob("slurmd.*.pid"), self.state / "slurmctld.pid", self.state / "slurmdbd.pid"]
        for path in (*pids, self.state / "mysqld/mysqld.pid", self.state / "munged.pid"):
            self._kill(path, signal.SIGTERM)
        for link in self.links:
            if link.is_symlink():
                link.unlink()
        shutil.rmtree(self.state, ignore_errors=True)

    @staticmethod
    def _kill(path: Path, number: signal.Signals) -> None:
        try:
            pid = int(path.read_text())
            os.kill(pid, number)
        except (OSError, ValueError):
            return
        try:
            wait(path.name, lambda: not _alive(pid), 15)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)

    def jobs(self, comment: str = "", folder: Path | None = None) -> list[Job]:
        """What the accounting knows of jobs whose comment begins so, in order of submission, every life of each."""
        options = [
            "-X",
            "-P",
            "-n",
            "--duplicates",
            "--starttime=now-1day",
            "--format",
            ",".join((*FIELDS, "WorkDir")),
        ]
        found = []
        for line in call("sacct", *options).splitlines():
            value = dict(zip((*FIELDS, "WorkDir"), line.split("|"), strict=True))
            if not value["Comment"].startswith(comment) or (folder and value["WorkDir"] != str(folder)):
                continue
            gpus = [
                part.partition("=")[2]
                for part in value["AllocTRES"].split(",")
                if part.startswith("gres/gpu=")
            ]
            found.append(
                Job(
                    value["JobIDRaw"],
                    value["State"].split()[0],
                    int(gpus[0]) if gpus else 0,
                    value["ReqMem"],
                    int(value["TimelimitRaw"] or 0),
                    int(value["NCPUS"]),
                    value["Partition"],
                    value["NodeList"],
                    value["Start"],
                    value["End"],
                    value["Account"],
                    value["Comment"],
                )
            )
        return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
