#[test]
fn probe() {
    let cases = [
        "",
        "# only\n",
        "---\n",
        "\t",
        "listen:\n\taddress: x\n",
        "listen: [1\n",
        "a: b: c\n",
        "- 1\n- 2\n",
        "hello\n",
        "listen:\n  address: *x\n  port: &a 1\n",
        "listen: !!map\n  port: !foo 1\n",
        "a: 1\n---\nb: 2\n",
        "a: 1\n...\n",
        "a: 1\n---\n",
        "listen:\n  port: 1\n  port: 2\n",
        "? [a]\n: 1\n",
        ": 1\n",
        "listen: \"abc\n",
        "listen:\n    a: 1\n  b: 2\n",
        "x: 'a'b\n",
        "listen:\n  address: 1.2.3.4:5\n  port: 70000\n  prot: 1\ntls: foo\nquic:\n  connection_window: 50MiB\nbackends:\n  - id: a b\n    address: web.internal:80\n  - id: b\n  -\n  - x\n",
        "\u{feff}workers: 3\n",
        "a\u{0}: 1",
        "routes: []\nadres: 1\nport: 4\nruotes: 1\n",
        "listen:\r\n  address: x\r\n",
        "workers: |\n  auto\n",
        "log: {level: ofd, access: off}\n",
        "log:\n\n\n\n  access:\n\n\n  level:\n\ntls:\n",
        "listen:\n  address: a\n\t port: 3\n",
        "listen: {\n\taddress: 1.1.1.1, port: 1}\n",
        "%YAML 1.2\n---\nworkers: 0\n",
    ];
    for case in cases {
        println!("--- {case:?}");
        match super::Config::parse("c.yaml", case) {
            Ok(_) => println!("OK"),
            Err(d) => d.iter().for_each(|d| println!("  {d}")),
        }
    }
    println!(
        "{}",
        super::Config::parse(
            "config/full.yaml",
            include_str!("../../../config/full.yaml")
        )
        .map(|c| c.to_yaml())
        .unwrap_or_else(|d| d.iter().map(|d| d.to_string() + "\n").collect())
    );
}
