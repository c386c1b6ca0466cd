package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/docs"
)

// The reference page shows docs/openapi.yaml to people: what is served is described there, so that nothing is written twice.

type reference struct {
	Title, Summary string
	Paragraphs     []string
	Tags           []*refTag
}

type refTag struct {
	Name       string
	Operations []refOperation
}

type refOperation struct {
	ID, Method, Path, Summary   string
	Description                 []string
	Parameters, Body, Responses []refItem
}

type refItem struct {
	Name, In, Description string
	Required              bool
}

// describedAPI is the part of an OpenAPI document that the page shows. Nodes keep the order of the file.
type describedAPI struct {
	Info struct {
		Title, Summary, Description string
	}
	Tags  []struct{ Name string }
	Paths yaml.Node

	Components struct {
		Parameters    map[string]yaml.Node
		RequestBodies map[string]yaml.Node `yaml:"requestBodies"`
		Responses     map[string]yaml.Node
		Schemas       map[string]yaml.Node
	}
}

type describedParameter struct {
	Ref         string `yaml:"$ref"`
	Name, In    string
	Description string
	Required    bool
}

type describedSchema struct {
	Ref         string `yaml:"$ref"`
	Description string
	Type        any
	Required    []string
	Properties  yaml.Node
}

type describedBody struct {
	Ref     string `yaml:"$ref"`
	Content map[string]struct{ Schema yaml.Node }
}

// newReference reads the description. It fails when that is not what the page can show.
func newReference(raw []byte) (*reference, error) {
	var d describedAPI
	if err := yaml.Unmarshal(raw, &d); err != nil {
		return nil, err
	}
	out := &reference{Title: d.Info.Title, Summary: d.Info.Summary, Paragraphs: paragraphs(d.Info.Description)}
	for _, t := range d.Tags {
		out.Tags = append(out.Tags, &refTag{Name: t.Name})
	}
	err := pairs(&d.Paths, func(path string, item *yaml.Node) error {
		var common []describedParameter
		return pairs(item, func(method string, n *yaml.Node) error {
			if method == "parameters" {
				return n.Decode(&common)
			}
			var op struct {
				ID                   string `yaml:"operationId"`
				Summary, Description string
				Tags                 []string
				Parameters           []describedParameter
				Body                 describedBody `yaml:"requestBody"`
				Responses            yaml.Node
			}
			if err := n.Decode(&op); err != nil || len(op.Tags) == 0 {
				return fmt.Errorf("%s %s: no tag, or %w", method, path, err)
			}
			i := slices.IndexFunc(out.Tags, func(t *refTag) bool { return t.Name == op.Tags[0] })
			if i < 0 {
				return fmt.Errorf("%s %s: unknown tag %s", method, path, op.Tags[0])
			}
			shown := refOperation{ID: op.ID, Method: strings.ToUpper(method), Path: path, Summary: op.Summary, Description: paragraphs(op.Description)}
			for _, p := range append(slices.Clone(common), op.Parameters...) {
				if err := deref(d.Components.Parameters, p.Ref, &p); err != nil {
					return err
				}
				shown.Parameters = append(shown.Parameters, refItem{p.Name, p.In, p.Description, p.Required})
			}
			if err := d.body(op.Body, &shown); err != nil {
				return err
			}
			err := pairs(&op.Responses, func(code string, n *yaml.Node) error {
				var r struct {
					Ref         string `yaml:"$ref"`
					Description string
				}
				if err := n.Decode(&r); err != nil {
					return err
				}
				if err := deref(d.Components.Responses, r.Ref, &r); err != nil {
					return err
				}
				shown.Responses = append(shown.Responses, refItem{Name: code, Description: r.Description})
				return nil
			})
			out.Tags[i].Operations = append(out.Tags[i].Operations, shown)
			return err
		})
	})
	return out, err
}

// body lists the fields of a request body.
func (d *describedAPI) body(b describedBody, to *refOperation) error {
	if err := deref(d.Components.RequestBodies, b.Ref, &b); err != nil {
		return err
	}
	c, ok := b.Content["application/json"]
	if !ok {
		return nil
	}
	var s describedSchema
	if err := c.Schema.Decode(&s); err != nil {
		return err
	}
	if err := deref(d.Components.Schemas, s.Ref, &s); err != nil || s.Properties.Kind == 0 {
		return err
	}
	return pairs(&s.Properties, func(name string, n *yaml.Node) error {
		var p describedSchema
		if err := n.Decode(&p); err != nil {
			return err
		}
		if err := deref(d.Components.Schemas, p.Ref, &p); err != nil {
			return err
		}
		kind := ""
		if p.Type != nil {
			kind = strings.Trim(fmt.Sprint(p.Type), "[]")
		}
		to.Body = append(to.Body, refItem{name, kind, p.Description, slices.Contains(s.Required, name)})
		return nil
	})
}

// deref decodes what a reference names; "" is none.
func deref(from map[string]yaml.Node, ref string, into any) error {
	if ref == "" {
		return nil
	}
	n, ok := from[ref[strings.LastIndexByte(ref, '/')+1:]]
	if !ok {
		return fmt.Errorf("%s is not there", ref)
	}
	return n.Decode(into)
}

// pairs calls fn for each entry of a mapping, in the order of the file.
func pairs(n *yaml.Node, fn func(string, *yaml.Node) error) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := fn(n.Content[i].Value, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// paragraphs splits a text at its empty lines and list items.
func paragraphs(s string) []string {
	var out []string
	for p := range strings.SplitSeq(strings.ReplaceAll(s, "\n- ", "\n\n"), "\n\n") {
		if p = strings.Join(strings.Fields(p), " "); p != "" {
			out = append(out, strings.TrimPrefix(p, "- "))
		}
	}
	return out
}

func (a *API) getReference(c *call) error {
	ref, err := a.reference()
	if err != nil {
		return err
	}
	c.Header().Set("Cache-Control", "no-cache")
	return c.html(http.StatusOK, "reference.html", ref, "'none'")
}

func readReference() (*reference, error) { return newReference(docs.OpenAPI) }
