package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	for _, host := range []string{"api", "h2"} {
		url := "https://" + host + ".example.com/v1/a"
		answer, err := http.Post(url, "text/plain", strings.NewReader("12345"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		body, err := io.ReadAll(answer.Body)
		fmt.Printf("%s over %s: %s (%v)\n", host, answer.Proto, body, err)
	}
}
