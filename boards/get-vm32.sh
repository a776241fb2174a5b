#!/bin/sh
# Gets the 32-bit MicroPython VM for the emulated boards: boards/get-vm32.sh [FOLDER]   (FOLDER: the checkout's .vm)
#
# A chip's objects are 32-bit, so only a 32-bit VM gives true heap figures. Debian 13 has one: the package `micropython`
# for i386. apt downloads it and its libraries into a private folder (no root, nothing is installed, no architecture is
# added to this machine), dpkg-deb unpacks them, and the VM runs by its own dynamic linker. Archive and keys are those
# that this machine's apt already trusts. On another distribution its own i386 package is tried.
#
# Leaves FOLDER/micropython (start it like any program; the folder may be moved), exit 0. Where the VM cannot be had:
# one sentence that says why, exit 1; the boards then use the 64-bit VM that pip installs.
set -eu

package=micropython
debian_suite=trixie # Debian 13; signed by the keys of Debian 12 too
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
folder=${1:-$here/../.vm}

notice() {
    echo "32-bit MicroPython: not to be had here ($1); emulated boards use the 64-bit one with twice the heap."
    exit 1
}

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || notice "it needs Linux on x86-64, this is $(uname -s) on $(uname -m)"
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || notice "it comes from a Debian archive, and this machine has no $tool"
done

mkdir -p "$folder" 2>/dev/null || notice "the folder $folder cannot be written"
folder=$(CDPATH='' cd -- "$folder" && pwd)
work=$(mktemp -d "$folder/work.XXXXXX" 2>/dev/null) || notice "the folder $folder cannot be written"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# --- which archive: the one this machine's own release comes from ------------------------------------------------------
ID='' VERSION_CODENAME='' UBUNTU_CODENAME=''
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || . /etc/os-release
if [ "$ID" = debian ]; then
    own_suites="$VERSION_CODENAME oldstable stable testing unstable sid"
    suite=$debian_suite components=main
else
    suite=${UBUNTU_CODENAME:-$VERSION_CODENAME}
    own_suites=$suite components='main universe'
fi

# apt itself reads every form of its sources (--no-release-info: also before its first update).
# A line: address|suite|component|file:place
archive='' place=''
# shellcheck disable=SC2016 # apt fills these names in, not the shell
apt-get indextargets --no-release-info --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SOURCESENTRY)' \
    'Created-By: Packages' >"$work/targets" 2>/dev/null || notice "apt cannot read its list of archives"
for own in $own_suites; do
    line=$(grep -m 1 "|$own|main|" "$work/targets") || continue
    archive=${line%%|*} place=${line##*|}
    break
done
[ -n "$archive" ] || notice "apt knows no archive of ${ID:-this distribution}${VERSION_CODENAME:+ $VERSION_CODENAME}"

# --- its keys: the Signed-By of the same entry (apt does not tell, so read it), else apt's trusted.gpg.d ---------------
entry_file=${place%:*} entry_number=${place##*:} signed_by=''
case $entry_file in
*.sources) # a paragraph of fields; the key may stand in it, over several lines
    signed_by=$(awk -v wanted="$entry_number" '
        /^#/ { next }
        /^[ \t]*$/ { inside = 0; next }
        !inside { inside = 1; paragraph++ }
        { if ($0 !~ /^[ \t]/) field = tolower($0) ~ /^signed-by:/ }
        paragraph == wanted && field { sub(/^[^ \t:]*:[ \t]*/, ""); print }
    ' "$entry_file")
    ;;
*.list) # deb [signed-by=… arch=…] address suite component…
    signed_by=$(sed -n "${entry_number}s/^[^[]*\[[^]]*signed-by=\([^] ]*\).*/\1/p" "$entry_file" | tr ',' ' ')
    ;;
esac

mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/root"
: >"$work/state/status" # nothing is installed, so apt brings every library
{
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nArchitectures: i386\n' "$archive" "$suite" "$components"
    [ -z "$signed_by" ] || printf 'Signed-By: %s\n' "$signed_by"
} >"$work/private.sources"
cat >"$work/apt.conf" <<CONF
Dir::State "$work/state";
Dir::State::status "$work/state/status";
Dir::Cache "$work/cache";
Dir::Etc::SourceList "$work/private.sources";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "i386";
#clear APT::Architectures;
APT::Architectures { "i386"; };
APT::Get::Assume-Yes "true";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Debug::NoLocking "true";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
CONF

echo "32-bit MicroPython: apt downloads $package ($suite, i386) into $(basename "$folder"), some 15 MB, once"
private_apt() {
    LC_ALL=C apt-get -qq -c "$work/apt.conf" "$@" >"$work/log" 2>&1 && return
    reason=$(sed -n 's/^[EW]: *//p' "$work/log" | head -n 1)
    notice "apt says: ${reason:-$(tail -n 1 "$work/log")}"
}
private_apt update
private_apt install --download-only "$package"
for deb in "$work"/cache/archives/*.deb; do
    dpkg-deb --extract "$deb" "$work/root" || notice "$(basename "$deb") cannot be unpacked"
done

# --- keep the program, its dynamic linker and the libraries it asks for ------------------------------------------------
vm=$work/i386
mkdir "$vm"
cp "$work/root/usr/bin/$package" "$vm/" 2>/dev/null || notice "the package has no program $package"
find "$work/root" -name 'ld-linux.so.2' -exec cp -L {} "$vm/" \; 2>/dev/null
libraries=$(find "$work/root" -name '*.so*' -exec dirname {} \; | sort -u | tr '\n' ':')
"$vm/ld-linux.so.2" --library-path "$libraries" --list "$vm/$package" 2>/dev/null |
    sed -n "s|.* => \($work/root/.*\) (0x.*|\1|p" >"$work/needed" || :
[ -s "$work/needed" ] || notice "this machine does not run 32-bit programs"
while read -r library; do cp -L "$library" "$vm/"; done <"$work/needed"
# shellcheck disable=SC2016 # dpkg-deb fills these names in, not the shell
for deb in "$work"/cache/archives/*.deb; do
    dpkg-deb --show --showformat '${Package} ${Version} ${Architecture}\n' "$deb"
done >"$vm/packages.txt"

cat >"$work/start" <<'START'
#!/bin/sh
# The 32-bit MicroPython VM, by its own dynamic linker and libraries (made by boards/get-vm32.sh).
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
exec "$here/i386/ld-linux.so.2" --library-path "$here/i386" "$here/i386/micropython" "$@"
START
chmod +x "$work/start"

# It must do what the boards need before it may take the place of another VM.
version=$("$work/start" -c '
import asyncio, binascii, cryptolib, hashlib, micropython, sys, vfs
assert sys.maxsize == 0x7FFFFFFF and vfs.VfsLfs2 and cryptolib.aes and binascii.crc32 and hashlib.sha256
print("%d.%d.%d" % sys.implementation.version[:3])' 2>/dev/null) || 
    notice "the package $(sed -n "s/^$package //p" "$vm/packages.txt") does not run here"

rm -rf "$folder/i386"
mv "$vm" "$folder/i386"
mv "$work/start" "$folder/micropython"
echo "32-bit MicroPython: $version is ready ($(basename "$folder")/micropython)"
