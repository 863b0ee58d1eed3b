# Completion of ckpt for fish. Once: ckpt completion fish > ~/.config/fish/completions/ckpt.fish
function __ckpt_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (ckpt complete -- $words[2..-1] "$current" 2> /dev/null)
        switch $line
            case :files
                __fish_complete_path "$current"
            case :end
            case '*'
                echo $line
        end
    end
end
complete -c ckpt -f -a '(__ckpt_complete)'
