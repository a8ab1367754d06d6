#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: debian-fetch.sh DIR PACKAGE...
#        debian-fetch.sh --list DIR REGEX
#
# Download the newest version of each package that Debian's newer suites offer, and unpack it below
# DIR/root. One line "PACKAGE VERSION" per package goes to stdout. With --list: print the names of the
# packages that match instead.
#
# Nothing of the system changes and no root is needed: apt works on lists, a cache and a status file of
# its own below DIR/apt. The mirror is the one that this machine's own source list names; settings such
# as proxies come from /etc/apt/apt.conf.d as ever.
#
# Exit status: 0 done; 77 it cannot be had here (no Debian, offline, no such package), with one line on
# stderr that says why; 1 anything else.

set -eu

suites='trixie-backports forky sid'
me=${0##*/}

usage()
{
	echo "usage: $me DIR PACKAGE...
       $me --list DIR REGEX" >&2
	exit 1
}

unavailable()
{
	echo "$me: $*" >&2
	exit 77
}

# Source list entries, one "URI SUITE COMPONENT..." per line, from the one-line files.
oneline_entries()
{
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk '
		$1 == "deb" {
			sub(/^[ \t]*deb[ \t]+/, "")
			sub(/^\[[^]]*\][ \t]*/, "")
			print
		}'
}

# The same from the deb822 files: a stanza can name several URIs and suites.
deb822_entries()
{
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -r "$f" ] || continue
		cat "$f"
		echo
	done | awk '
		function flush(  i, j, n, m, uri, suite) {
			if ((" " types " ") ~ / deb / && tolower(enabled) != "no") {
				n = split(uris, uri, " ")
				m = split(suitelist, suite, " ")
				for (i = 1; i <= n; i++)
					for (j = 1; j <= m; j++)
						print uri[i], suite[j], components
			}
			types = uris = suitelist = components = enabled = field = ""
		}
		function add(name, value) {
			if (name == "types") types = types " " value
			else if (name == "uris") uris = uris " " value
			else if (name == "suites") suitelist = suitelist " " value
			else if (name == "components") components = components " " value
			else if (name == "enabled") enabled = value
		}
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		/^[ \t]/ { $1 = $1; add(field, $0); next }
		{
			colon = index($0, ":")
			field = tolower(substr($0, 1, colon - 1))
			value = substr($0, colon + 1)
			gsub(/^[ \t]+|[ \t]+$/, "", value)
			add(field, value)
		}
		END { flush() }'
}

# Which of them may be a mirror of Debian itself: a Debian suite with the component main, and not the
# security archive. Another publisher's archive can look the same; the signature tells them apart.
mirrors()
{
	{ oneline_entries; deb822_entries; } | awk '
		$1 ~ /security|^cdrom:/ { next }
		$2 !~ /^(bookworm|trixie|forky|duke|sid|stable|testing|unstable|oldstable)(-updates|-backports)?$/ { next }
		{
			for (i = 3; i <= NF; i++)
				if ($i == "main" && !seen[$1]++)
					print $1
		}'
}

keyring()
{
	for k in /usr/share/keyrings/debian-archive-keyring.pgp \
		/usr/share/keyrings/debian-archive-keyring.gpg; do
		[ -r "$k" ] && echo "$k" && return
	done
	unavailable 'the package debian-archive-keyring is not installed'
}

write_config()	# MIRROR
{
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	for suite in $suites; do
		echo "deb [signed-by=$keys] $1 $suite main"
	done >"$apt/sources.list"
	: >"$apt/status"
	cat >"$apt/apt.conf" <<-END
		Dir::Etc::SourceList "$apt/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		Dir::State::Lists "$apt/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		APT::Sandbox::User "root";
		APT::Get::List-Cleanup "true";
		Acquire::Languages "none";
		Acquire::Retries "2";
		Acquire::http::Timeout "30";
		Acquire::https::Timeout "30";
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		#clear Acquire::IndexTargets::deb::Contents-deb;
		#clear Acquire::IndexTargets::deb::DEP-11;
	END
}

have_lists()
{
	[ -n "$(find "$apt/lists" -maxdepth 1 -name '*_Packages*' -print 2>/dev/null | head -n 1)" ]
}

# A suite that the mirror lacks is no reason to give up: what counts is that some list arrived.
update_lists()
{
	candidates=$(mirrors)
	[ -n "$candidates" ] || unavailable 'no Debian mirror in the source list of apt'
	for mirror in $candidates; do
		write_config "$mirror"
		apt-get -c "$apt/apt.conf" -q update >"$apt/update.log" 2>&1 || :
		have_lists && return
	done
	reason=$(grep -m 1 '^[EW]: ' "$apt/update.log" || echo 'see update.log')
	unavailable "no package list from $(echo "$candidates" | wc -l) mirror(s): $reason"
}

# apt would choose by pin, which puts sid before a newer backport: compare the versions ourselves.
newest()	# PACKAGE
{
	best=
	for v in $(apt-cache -c "$apt/apt.conf" madison "$1" | awk -F ' *[|] *' '{ print $2 }'); do
		if [ -z "$best" ] || dpkg --compare-versions "$v" gt "$best"; then
			best=$v
		fi
	done
	echo "$best"
}

fetch()	# PACKAGE
{
	version=$(newest "$1")
	[ -n "$version" ] || unavailable "no package $1 in $suites"
	(cd "$dir/deb" && apt-get -c "$apt/apt.conf" -q download "$1=$version") \
		>"$apt/download.log" 2>&1 ||
		unavailable "$1 $version could not be downloaded: $(tail -n 1 "$apt/download.log")"
	# The epoch's colon is escaped in the file name.
	deb=$(find "$dir/deb" -name "$1_$(echo "$version" | sed 's/:/%3a/')_*.deb" -print | head -n 1)
	dpkg-deb -x "$deb" "$dir/root"
	echo "$1 $version"
}

list=
[ "${1-}" = --list ] && list=yes && shift
[ $# -ge 2 ] || usage
for tool in apt-get apt-cache dpkg dpkg-deb; do
	command -v $tool >/dev/null || unavailable "no $tool: this is not a Debian machine"
done

mkdir -p "$1/deb" "$1/root"
dir=$(cd "$1" && pwd)
shift
apt=$dir/apt
keys=$(keyring)
update_lists

if [ -n "$list" ]; then
	apt-cache -c "$apt/apt.conf" pkgnames | grep -E -e "$1" || unavailable "no package matches $1"
	exit
fi
for package; do
	fetch "$package"
done
