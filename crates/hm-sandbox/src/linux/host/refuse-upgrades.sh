# From hm: which of the host's own packages would these archives replace?
replaced=
while read -r archive; do
    package=$(dpkg-deb --show --showformat='${Package}' "$archive")
    file=$(dpkg-query -L "$package" 2>/dev/null | while read -r path; do
        # A step has its own /etc.
        case $path in /etc/*) continue ;; esac
        if [ -f "$path" ] && [ ! -L "$path" ]; then echo "$path"; break; fi
    done)
    # The host's root has no id in here.
    if [ -n "$file" ] && [ "$(stat -c %u "$file")" = 65534 ]; then replaced="$replaced $package"; fi
done
if [ -n "$replaced" ]; then
    echo "hm: without root, a step on the image host can install packages but not replace the host's own:$replaced." >&2
    echo "hm: bring the host up to date (sudo apt-get upgrade), or run the step on a root filesystem tarball:" >&2
    echo "hm:   mmdebstrap --variant=apt stable rootfs.tar && hm run --image host=./rootfs.tar" >&2
    exit 1
fi
