//! Hosts that are network namespaces of this machine, each with a link of 1 Gbit/s to one switch.

use super::Bench;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What leaves either end of a link at most.
const RATE: &str = "tbf rate 1gbit burst 256kb latency 50ms";

/// What the launcher starts in place of `ssh`: it gets a host and a command.
const AGENT: &str = "#!/bin/sh\nhost=$1\nshift\nexec ip netns exec \"$host\" unshare --uts -- sh -c \"hostname $host; exec $*\"\n";

/// Network namespaces, named after this process. They are gone when this is dropped, with all that runs in them.
pub(crate) struct Hosts {
    switch: String,
    names: Vec<String>,
    agent: String,
}

impl Hosts {
    pub(crate) fn new(bench: &Bench, count: usize) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("sparse-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let agent = bench.path("agent");
        std::fs::write(&agent, AGENT).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        let names = (0..count).map(|host| format!("{prefix}-{host}")).collect();
        let hosts =
            Self { switch: format!("{prefix}-switch"), names, agent: agent.to_str().unwrap().to_owned() };
        hosts.link();
        hosts
    }

    fn link(&self) {
        let switch = &self.switch;
        run(&format!("ip netns add {switch}"));
        run(&format!("ip -n {switch} link add name bridge type bridge"));
        run(&format!("ip -n {switch} link set bridge up"));
        for (number, host) in self.names.iter().enumerate() {
            run(&format!("ip netns add {host}"));
            let port = format!("port{number}");
            run(&format!("ip -n {switch} link add name {port} type veth peer name eth0 netns {host}"));
            run(&format!("ip -n {switch} link set {port} master bridge up"));
            run(&format!("ip -n {host} addr add 10.77.0.{}/24 dev eth0", number + 1));
            run(&format!("ip -n {host} link set lo up"));
            run(&format!("ip -n {host} link set eth0 up"));
            run(&format!("tc -n {switch} qdisc add dev {port} root {RATE}"));
            run(&format!("tc -n {host} qdisc add dev eth0 root {RATE}"));
        }
    }

    /// `mpirun` on the first host, with `ranks` processes on each. Between hosts there is TCP alone, within them too.
    pub(crate) fn mpirun(&self, ranks: usize) -> Command {
        let first = &self.names[0];
        let hosts: Vec<String> = self.names.iter().map(|host| format!("{host}:{ranks}")).collect();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", first, "unshare", "--uts", "--", "sh", "-c"]);
        command.args(["hostname \"$0\"; exec mpirun \"$@\"", first, "--host", &hosts.join(",")]);
        let settings = format!(
            "plm_rsh_agent {} plm rsh pml ob1 btl tcp,self btl_tcp_if_include eth0 oob_tcp_if_include eth0",
            self.agent
        );
        let words: Vec<&str> = settings.split(' ').collect();
        words.chunks(2).for_each(|pair| {
            command.arg("--mca").args(pair);
        });
        command
    }

    /// Takes the link of a host down.
    pub(crate) fn cut(&self, host: usize) {
        run(&format!("ip -n {} link set eth0 down", self.names[host]));
    }

    /// Waits until nothing runs on a host any more, the launcher's own processes among it.
    pub(crate) fn wait_until_empty(&self, host: usize) {
        while !run(&format!("ip netns pids {}", self.names[host])).is_empty() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Bytes that a host has sent to others.
    pub(crate) fn sent(&self, host: usize) -> u64 {
        let told = run(&format!("ip -n {} -s -j link show eth0", self.names[host]));
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        told[0]["stats64"]["tx"]["bytes"].as_u64().unwrap()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in self.names.iter().chain([&self.switch]) {
            let ip = |words: &[&str]| Command::new("ip").args(words).output();
            let inside = ip(&["netns", "pids", name]).map(|output| output.stdout).unwrap_or_default();
            for process in String::from_utf8_lossy(&inside).split_whitespace() {
                let _ = Command::new("kill").args(["-KILL", process]).status();
            }
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// Runs a command that must succeed; what it prints.
#[track_caller]
fn run(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
