fn greeting(name: &str) -> String {
    let text = format!("Hello, {name}");
    if cfg!(feature = "shout") {
        text.to_uppercase()
    } else {
        text
    }
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "you".into());
    println!("{}", greeting(&name));
}

#[cfg(test)]
mod tests {
    #[test]
    fn greets() {
        let wanted = if cfg!(feature = "shout") {
            "HELLO, ADA"
        } else {
            "Hello, Ada"
        };
        assert_eq!(super::greeting("Ada"), wanted);
    }
}
