# Sees to it that a Vulkan driver is there for the GPU tests: Mesa's software driver, where Linux has none. Sourced by test.sh.
# Whether an adapter then answers is for the tests to find: they fail without one.
if [ "$(uname -s)" = Linux ]; then
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"          # else Mesa complains on every start
    found=${VK_DRIVER_FILES:-${VK_ICD_FILENAMES:-}}
    for file in /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json; do
        [ ! -e "$file" ] || found=$file
    done
    PATH=$PATH:/sbin ldconfig -p | grep -q 'libvulkan\.so\.1' || found=""
    if [ -z "$found" ]; then
        sudo=""
        [ "$(id -u)" = 0 ] || sudo=sudo
        { $sudo apt-get update -q && $sudo apt-get install -y -q --no-install-recommends libvulkan1 mesa-vulkan-drivers; } || cat >&2 <<'END'
There is no Vulkan driver, and the GPU tests will fail. Install the loader and Mesa's software driver, then try again:
    apt-get install libvulkan1 mesa-vulkan-drivers        dnf install vulkan-loader mesa-vulkan-drivers
    pacman -S vulkan-icd-loader vulkan-swrast             apk add vulkan-loader mesa-vulkan-swrast
END
    fi
fi
