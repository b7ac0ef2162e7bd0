//! What a process listens on, as Linux tells it.

/// The sockets on which a process listens, as the kernel shows them: local addresses in hexadecimal digits.
pub fn listening(pid: u32) -> Vec<String> {
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("its files")
        .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()?.to_str().map(str::to_owned))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let lines = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in lines.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A: TCP listens. UDP has no such state: any socket counts.
            let is_open = fields[3] == "0A" || table.starts_with("udp");
            if is_open && own.iter().any(|inode| inode == fields[9]) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found
}

/// The port of the one socket that a process listens on.
pub fn port(pid: u32) -> u16 {
    let sockets = listening(pid);
    let [socket] = sockets.as_slice() else { panic!("one socket, not {sockets:?}") };
    let (_, port) = socket.rsplit_once(':').expect("a port");
    u16::from_str_radix(port, 16).expect("a port")
}
