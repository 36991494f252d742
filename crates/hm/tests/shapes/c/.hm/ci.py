import harmont as hm

SANITIZERS = {"address": "-fsanitize=address", "undefined": "-fsanitize=undefined -fno-sanitize-recover=all"}


@hm.pipeline("ci")
def ci():
    clean = hm.sh("git status --porcelain; test -z \"$(git status --porcelain)\"", label="clean", git=True)
    release = hm.sh("make check CFLAGS='-O2 -Wall -Wextra -Werror'", label="release", cache=hm.auto())
    sanitized = [
        hm.sh(f"make check CFLAGS='-g -O1 {flags}'", label=name, cache=hm.auto()) for name, flags in SANITIZERS.items()
    ]
    install = release.sh(
        """
        make install PREFIX=/tmp/usr
        gcc -I/tmp/usr/include -o /tmp/uses tests/uses.c -L/tmp/usr/lib -lring
        LD_LIBRARY_PATH=/tmp/usr/lib /tmp/uses
        """,
        label="install",
        cache=hm.auto(),
    )
    return [clean, install, *sanitized]
