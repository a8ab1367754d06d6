# SPDX-License-Identifier: MIT
# Completion for bash. Verbs are asked of the command itself, so that they are always those that it has.

# The first words of verbs, or with a word the second ones of those that begin with it.
_pfnbufctl_verbs()	# COMMAND [WORD]
{
	local first second

	"$1" --list-verbs 2>/dev/null | while read -r first second; do
		if [ $# -eq 1 ]; then
			echo "$first"
		elif [ "$first" = "$2" ]; then
			echo "$second"
		fi
	done
}

# The names of the profiles that are installed.
_pfnbufctl_profiles()	# COMMAND
{
	"$1" profile list 2>/dev/null | sed -n 's/^  \([^ :]*\)  *[^ ].*/\1/p'
}

_pfnbufctl()
{
	local command=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} previous='' i
	local -a plain=()

	[ "$COMP_CWORD" -gt 0 ] && previous=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $previous in
	-f | --file | run)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	-c | --command | -D | --define)
		return
		;;
	--profile)
		# A name that is installed, or a file.
		mapfile -t COMPREPLY < <(compgen -W "$(_pfnbufctl_profiles "$command")" -- "$word"
			compgen -f -- "$word")
		return
		;;
	esac
	case $word in
	--sim=*)
		# A machine file, or a profile.
		mapfile -t COMPREPLY < <(compgen -f -- "${word#--sim=}"
			compgen -W 'mainline-7.3 tdx-rfc2 iommufd-tsm5 cca7 gmem-inplace8 proposed' -- "${word#--sim=}")
		return
		;;
	-*)
		mapfile -t COMPREPLY < <(compgen -W '--file --command --interactive --define --sim --profile --dry-run --hold
			--trace --json --quiet --version --help' -- "$word")
		return
		;;
	esac
	# The words before this one that are no options.
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-f | --file | -c | --command | -D | --define | --profile) ((i++)) ;;
		-*) ;;
		*) plain+=("${COMP_WORDS[i]}") ;;
		esac
	done
	case ${#plain[@]} in
	0)
		mapfile -t COMPREPLY < <(compgen -W "run help tdi layout $(_pfnbufctl_verbs "$command")" -- "$word")
		;;
	1)
		case ${plain[0]} in
		help) mapfile -t COMPREPLY < <(compgen -W "$(_pfnbufctl_verbs "$command")" -- "$word") ;;
		tdi) mapfile -t COMPREPLY < <(compgen -W "show encode decode
			$(_pfnbufctl_verbs "$command" tdi)" -- "$word") ;;
		layout) mapfile -t COMPREPLY < <(compgen -W 'show diff compile' -- "$word") ;;
		*) mapfile -t COMPREPLY < <(compgen -W "$(_pfnbufctl_verbs "$command" "${plain[0]}")" -- "$word") ;;
		esac
		;;
	*)
		case ${plain[0]} in
		profile)
			mapfile -t COMPREPLY < <(compgen -W "$(_pfnbufctl_profiles "$command")" -- "$word"
				compgen -f -- "$word")
			;;
		run | tdi | layout) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
		esac
		;;
	esac
}

complete -o filenames -o bashdefault -F _pfnbufctl pfnbufctl
