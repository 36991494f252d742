# Makes what `docker save` would write of a Debian with PostgreSQL: postgres.sh IMAGE.tar
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
root=$place/layer.tar
mmdebstrap --quiet --variant=essential --include=postgresql-15 \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/i18n/*' \
    --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' \
    --dpkgopt='path-exclude=/usr/lib/llvm*' \
    --dpkgopt='path-exclude=/usr/lib/*/libz3*' \
    --dpkgopt='path-exclude=/usr/lib/postgresql/15/lib/bitcode/*' \
    --customize-hook='chroot "$1" runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb \
        -D /var/lib/postgresql/data --auth=trust --no-sync --wal-segsize=1 >/dev/null' \
    --customize-hook='cd "$1" && rm -rf var/lib/postgresql/15 var/lib/apt var/cache/* usr/lib/*/gconv' \
    --customize-hook='cd "$1" && rm -rf usr/share/perl usr/lib/*/perl usr/lib/*/libperl*' \
    bookworm "$root"
case $(dpkg --print-architecture) in
    i386) architecture=386 ;;
    armhf) architecture=arm ;;
    *) architecture=$(dpkg --print-architecture) ;;
esac
cat >"$place/config.json" <<END
{"os": "linux", "architecture": "$architecture",
 "config": {"User": "postgres", "Env": ["PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": ["/usr/lib/postgresql/15/bin/postgres"],
            "Cmd": ["-D", "/var/lib/postgresql/data", "-c", "listen_addresses=localhost", "-c", "fsync=off",
                    "-c", "unix_socket_directories=/tmp"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum "$root" | cut -d' ' -f1)"]}}
END
echo '[{"Config": "config.json", "RepoTags": ["hm-test/postgres:15"], "Layers": ["layer.tar"]}]' >"$place/manifest.json"
tar -C "$place" -cf "$1.partial" manifest.json config.json layer.tar
mv "$1.partial" "$1"
