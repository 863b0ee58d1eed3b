# Completion of ckpt for bash. In ~/.bashrc: eval "$(ckpt completion bash)"
_ckpt() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) ;;
      :end) compopt +o default 2> /dev/null ;;
      *) COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <(ckpt complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null)
}
complete -o default -F _ckpt ckpt
