#compdef ckpt
# Completion of ckpt for zsh. In ~/.zshrc, after compinit: eval "$(ckpt completion zsh)"
_ckpt() {
  local line files=
  local -a found
  while IFS= read -r line; do
    case $line in
      :files) files=yes ;;
      :end) ;;
      *) found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
    esac
  done < <(ckpt complete -- "${(@)words[2,CURRENT]}" 2> /dev/null)
  (( $#found )) && _describe -V ckpt found
  if [[ -n $files ]]; then _files; fi
}
if [[ $funcstack[1] == _ckpt ]]; then _ckpt "$@"; else compdef _ckpt ckpt; fi
